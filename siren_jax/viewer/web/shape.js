// @ts-check
/** Shapes: the surface of a signed distance, by rays through a baked grid and, at rest, by the network itself. */
import { text } from "./colours.js";
import { buttons, listen } from "./gestures.js";
import { button, download, element, slider, tick } from "./page.js";
import { FOUND, raysOf, steepest } from "./tracing.js";

/** @typedef {import("./main.js").Shown} Shown */

const GRIDS = [24, 48, 96]; // corners along each side, coarse to fine
const MOVING = 220; // shorter side of the picture while it moves, in pixels
const RESTING = 800; // and at rest
const STONE = [214, 206, 190]; // red, green and blue
const TURN = 200; // degrees, by a drag from side to side
const STRIP = 24; // rows that are traced at a time; after each, the shape may be turned
const BLOCK = 2048; // rays that the network polishes at a time

/** @param {Shown} shown @returns {import("./main.js").View} */
export function showShape({ signal, evaluate, hand, stage, panel, name, palettes, poster }) {
  const tracer = hand();
  const canvas = element("canvas", { tabindex: 0, role: "img", "aria-label": `${name}: drag or use the arrow keys to turn, wheel or + and - to come nearer, 0 for the first view` });
  const first = { azimuth: -60, elevation: 25, distance: 3.2 };
  const camera = { ...first };
  const plane = { axis: 2, at: 0, on: false };
  const scale = signal.placement?.scale ?? 1;
  let version = 0;
  let ended = false;
  /** @type {import("./tracing.js").Grid | null} */
  let grid = null;

  /** Distances at the corners of a grid, in slabs. @param {number} n @param {(share: number) => void} tell */
  async function bake(n, tell) {
    const mine = begun;
    const values = new Float32Array(n ** 3);
    const step = 2 / (n - 1);
    let done = 0;
    await Promise.all(Array.from({ length: n }, async (_, i) => {
      const found = await evaluate({ centre: [-1 + i * step, 0, 0], order: "value", shape: [n, n], steps: [[0, step, 0], [0, 0, step]] }, () => (ended || mine !== begun ? Infinity : 10 + n));
      if (found) values.set(found, i * n * n);
      if (mine === begun && !passing) tell(++done / n);
    }));
    return { n, values, steepest: steepest(values, n) };
  }

  const progress = element("p", { class: "progress", role: "status" });
  let begun = 0;
  let passing = false; // whether the function will soon be another one, which is seen on the first grid alone
  async function begin() {
    const mine = ++begun;
    for (const n of passing ? GRIDS.slice(0, 1) : GRIDS) {
      const baked = await bake(n, (share) => (progress.textContent = `Surface on a grid of ${n}³: ${Math.round(100 * share)} %`));
      if (ended || mine !== begun) return;
      grid = baked;
      fresh = true;
      look();
    }
    progress.textContent = "";
  }

  let fresh = false; // whether the tracer lacks the grid
  let tracing = false;
  let again = false;
  /** Traces at the size of movement, then at that of rest, then lets the network polish. */
  async function look() {
    version++;
    again = true;
    if (tracing || !grid) return;
    tracing = true;
    while (again && !ended) {
      again = false;
      await picture(MOVING, () => false);
      if (!again) await new Promise((resolve) => setTimeout(resolve, 60));
      if (!again) {
        const mine = version;
        const seen = await picture(RESTING, () => again);
        if (!again && seen && !passing) polish(seen, mine);
      }
    }
    tracing = false;
  }

  /** Traces a picture and paints it, unless it is not wanted any more. @param {number} side @param {() => boolean} unwanted */
  async function picture(side, unwanted) {
    const shrink = Math.min(1, side / Math.min(canvas.clientHeight || side, canvas.clientWidth || side));
    const [height, width] = [Math.max(2, Math.round(canvas.clientHeight * shrink)), Math.max(2, Math.round(canvas.clientWidth * shrink))];
    const rays = { camera: { ...camera }, width, height, plane: plane.on ? { axis: plane.axis, at: plane.at } : null };
    const found = new Float32Array(FOUND * width * height);
    for (let row = 0; row < height; row += STRIP) {
      const rows = [row, Math.min(height, row + STRIP)];
      const sent = fresh; // a later grid may come while it traces
      fresh = false;
      found.set(/** @type {Float32Array} */ (await tracer.ask({ rays: { ...rays, rows, ...(sent ? { grid } : {}) } })), FOUND * width * row);
      if (unwanted() || ended) return null;
    }
    paint(found, width, height, rays.camera);
    return { found, ...rays };
  }

  /** The points where rays meet the surface, corrected by Newton's step along the ray, with the network's own normals.
   * @param {{ found: Float32Array, camera: import("./tracing.js").Camera, width: number, height: number }} seen @param {number} mine */
  async function polish({ found, camera, width, height }, mine) {
    const { eye, direction } = raysOf(camera, width, height);
    const hits = /** @type {number[]} */ ([]);
    for (let i = 0; i < width * height; i++) if (found[FOUND * i] && !Number.isNaN(found[FOUND * i + 1])) hits.push(i);
    const blocks = Array.from({ length: Math.ceil(hits.length / BLOCK) }, (_, b) => hits.slice(b * BLOCK, (b + 1) * BLOCK));
    let drawn = performance.now();
    await Promise.all(blocks.map(async (block) => {
      const rays = block.map((pixel) => direction(Math.floor(pixel / width), pixel % width));
      const offsets = new Float32Array(3 * block.length);
      block.forEach((pixel, i) => rays[i].forEach((r, d) => (offsets[d * block.length + i] = eye[d] + found[FOUND * pixel] * r)));
      const result = await evaluate({ centre: [0, 0, 0], order: "gradient", offsets }, () => (mine === version && !ended ? 1 : Infinity));
      if (!result || mine !== version) return;
      block.forEach((pixel, i) => {
        const slope = [1, 2, 3].map((d) => result[d * block.length + i]);
        const along = slope.reduce((sum, g, d) => sum + g * rays[i][d], 0);
        const most = 2 / (grid?.n ?? 1);
        if (Math.abs(along) > 0.1) found[FOUND * pixel] -= Math.max(-most, Math.min(most, result[i] / along));
        const length = Math.hypot(...slope) || 1;
        slope.forEach((g, d) => (found[FOUND * pixel + 1 + d] = g / length));
      });
      if (performance.now() - drawn > 150 || block === blocks[blocks.length - 1]) {
        paint(found, width, height, camera);
        drawn = performance.now();
      }
    }));
    if (mine === version && !ended) paint(found, width, height, camera);
  }

  /** @param {Float32Array} found @param {number} width @param {number} height @param {import("./tracing.js").Camera} camera */
  function paint(found, width, height, camera) {
    const { back, right, up } = raysOf(camera, width, height);
    const light = back.map((b, d) => 0.75 * b - 0.45 * right[d] + 0.55 * up[d]);
    const bright = Math.hypot(...light);
    const image = new ImageData(width, height);
    const bytes = image.data;
    for (let i = 0; i < width * height; i++) {
      const [at, out] = [FOUND * i, 4 * i];
      if (!found[at]) continue;
      bytes[out + 3] = 255;
      const [x, y, z] = [found[at + 1], found[at + 2], found[at + 3]];
      if (Number.isNaN(x)) {
        const colour = onPlane(y);
        for (let c = 0; c < 3; c++) bytes[out + c] = colour[c];
        continue;
      }
      const lit = Math.max(0, (x * light[0] + y * light[1] + z * light[2]) / bright);
      const shade = 0.34 + 0.58 * lit + 0.08 * Math.max(0, x * back[0] + y * back[1] + z * back[2]);
      for (let c = 0; c < 3; c++) bytes[out + c] = STONE[c] * shade;
    }
    poster?.remove();
    Object.assign(canvas, { width, height });
    /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d")).putImageData(image, 0, 0);
  }

  /** Blue inside and red outside, with lines at round distances. @param {number} distance */
  function onPlane(distance) {
    const at = 3 * Math.round(255 * Math.min(1, Math.max(0, 0.5 + distance)));
    const fraction = Math.abs(((distance * 10) % 1) - Math.round((distance * 10) % 1));
    const dim = fraction < 0.06 ? 0.6 : 1;
    return [0, 1, 2].map((c) => dim * palettes.diverging[at + c]);
  }

  const moves = /** @type {import("./gestures.js").Moves} */ ({
    pan: (down, right) => {
      camera.azimuth -= (TURN * right) / canvas.clientWidth;
      camera.elevation = Math.min(89, Math.max(-89, camera.elevation + (TURN * down) / canvas.clientHeight));
      look();
    },
    zoom: (factor) => {
      camera.distance = Math.min(12, Math.max(1.2, camera.distance / factor));
      look();
    },
    all: () => {
      Object.assign(camera, first);
      look();
    },
  });
  listen(canvas, moves);
  const watch = new ResizeObserver(() => look());
  watch.observe(canvas);

  const centre = signal.placement?.centre ?? [0, 0, 0];
  const cuts = element("div", {});
  const showCut = () => {
    const place = (/** @type {number} */ x) => centre[plane.axis] + scale * x;
    const at = (/** @type {number} */ x) => `${"xyz"[plane.axis]} = ${text(Math.abs(place(x)) < 1e-6 * scale ? 0 : place(x), 3)}`;
    const legend = element("p", { class: "note" }, `Lines are ${text(0.1 * scale)} apart; blue is inside, red outside.`);
    cuts.replaceChildren(...(plane.on ? [slider("Plane", -1, 1, plane.at, at, (x) => { plane.at = x; look(); }, 6), legend] : []));
  };
  panel.append(
    buttons(moves, "First view"),
    tick("A plane of distances", (on) => { plane.on = on; showCut(); look(); }),
    element("div", { class: "row" }, ...["x", "y", "z"].map((axis, d) => button(`across ${axis}`, () => { Object.assign(plane, { axis: d, on: true }); /** @type {HTMLInputElement} */ (panel.querySelector(".tick input")).checked = true; showCut(); look(); }))),
    cuts,
    element("p", { class: "note" }, "The surface is polished by the network while nothing moves."),
    element("div", { class: "row" }, button("Save PNG", () => canvas.toBlob((blob) => blob && download(blob, `${name}.png`)))),
    progress,
  );
  stage.append(canvas);
  begin();
  return {
    close() {
      ended = true;
      watch.disconnect();
    },
    renew(soon) {
      passing = soon;
      begin();
    },
  };
}
