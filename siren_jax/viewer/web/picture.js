// @ts-check
/** Pictures, and solutions of equations: a plane of the function with its derivatives, a scale, the numbers under the
 * cursor, cuts along lines and, for more than two coordinates, sliders for the others. */
import { mapped, picture, shaped, short, text, ticks } from "./colours.js";
import { curve } from "./curve.js";
import { buttons } from "./gestures.js";
import { button, choice, colour, download, element, select, slider, tick } from "./page.js";
import { Plane } from "./plane.js";

/** @typedef {import("./main.js").Shown} Shown */
/** @typedef {"value" | "gradient" | "direction" | "laplacian"} Quantity */

const NAMES = /** @type {Record<Quantity, string>} */ ({ value: "value", gradient: "|gradient|", direction: "gradient direction", laplacian: "Laplacian" });
const ORDERS = /** @type {Record<Quantity, import("./network.js").Order>} */ ({ value: "value", gradient: "gradient", direction: "gradient", laplacian: "laplacian" });
const LONGEST = 4096; // side of a saved picture
const LARGE = 50000; // weights of networks whose tiles are small, so that jobs stay short

/** @param {Shown} shown @returns {import("./main.js").View} */
export function showPicture({ signal, evaluate, stage, panel, name, poster, original, palettes, frames }) {
  const { kind, shape, low, high, range, network, record } = signal;
  const { channels, inputs } = network;
  const solution = kind === "solution";
  const video = kind === "video";
  const axes = names(record.axes, inputs, solution ? Array.from({ length: inputs }, (_, i) => `x${i}`) : video ? ["time", "row", "column"] : [...Array.from({ length: inputs - 2 }, (_, i) => `x${i}`), "row", "column"]);
  const parts = names(record.channels, channels, channels > 2 && !solution ? ["red", "green", "blue", "opacity"] : Array.from({ length: channels }, (_, i) => `channel ${i + 1}`));
  // The last two coordinates are the plane, rows first; an interval is a plane of one row, seen as a curve.
  const [row, column] = [inputs - 2, inputs - 1];
  const fixed = low.map((a, d) => (d < row && !video ? a : (a + high[d]) / 2));
  const size = /** @type {[number, number]} */ (
    solution ? [512, 512] : [shape[row], shape[column]]
  );
  const coordinates = (/** @type {number} */ u, /** @type {number} */ v) =>
    fixed.map((x, d) => (d === row ? (solution ? high[d] - (u / size[0]) * (high[d] - low[d]) : low[d] + (u / size[0]) * (high[d] - low[d])) : d === column ? low[d] + (v / size[1]) * (high[d] - low[d]) : x));

  const canvas = element("canvas", { tabindex: 0, role: "img", "aria-label": `${name}: drag or use the arrow keys to move, wheel or + and - to zoom, 0 for all` });
  const plane = new Plane(canvas, size, network.weights > LARGE ? 32 : 64, coordinates, evaluate);
  plane.poster = solution ? null : poster; // that of a solution has axes

  // The other coordinates. Those of a video and its play are whole frames, whose tiles stay.
  const move = (/** @type {number} */ d, /** @type {number} */ x) => {
    fixed[d] = x;
    if (frames) still(Math.min(frames.count - 1, Math.max(0, Math.floor((frames.count * (x - low[d])) / (high[d] - low[d])))));
    else plane.poster = null;
    sampled.clear();
    plane.move(String(fixed.slice(0, row)));
    asked++;
    read();
  };
  const toFrame = (/** @type {number} */ x) => low[0] + ((Math.min(shape[0] - 1, Math.floor(((x - low[0]) / (high[0] - low[0])) * shape[0])) + 0.5) / shape[0]) * (high[0] - low[0]);
  const others = () => low.slice(0, Math.max(0, row)).map((a, d) => (video
    ? slider("time", a, high[0], fixed[0], (x) => `${text(((x - a) / (high[0] - a)) * (shape[0] / signal.rate), 4)} s`, (x) => move(0, toFrame(x)), shape[0] / signal.rate)
    : slider(axes[d], a, high[d], fixed[d], (x) => text(x), (x) => move(d, x), d === 0 ? 8 : 0)));
  /** Shows one of the frames that were made with the page, until tiles are there. @param {number} k */
  function still(k) {
    if (!frames) return;
    const height = frames.image.naturalHeight / frames.count;
    const frame = element("canvas", { width: frames.image.naturalWidth, height });
    frame.getContext("2d")?.drawImage(frames.image, 0, -k * height);
    plane.poster = frame;
  }
  plane.stretched = solution;

  let quantity = /** @type {Quantity} */ ("value");
  let channel = 0;
  /** @type {Map<string, [number, number]>} */
  const limits = new Map();
  const half = (range[1] - range[0]) / 2;
  const inRange = (/** @type {number} */ y) => range[0] + half * (y + 1);

  /** A tile's numbers as they are shown: one for each point, or a colour. @param {Float32Array} found @param {Quantity} of @param {number} part a channel */
  function numbersOf(found, of, part = channel) {
    const count = found.length / (channels * ({ value: 1, gradient: 1 + inputs, laplacian: 2 + inputs })[ORDERS[of]]);
    const stream = (/** @type {number} */ s) => found.subarray((s * channels + part) * count, (s * channels + part + 1) * count);
    if (of === "value") return stream(0).map(inRange);
    if (of === "laplacian") return stream(1 + inputs).map((y) => half * y);
    const [down, right] = [stream(1 + row), stream(1 + column)];
    return down.map((y, i) => (of === "gradient" ? half * Math.hypot(y, right[i]) : Math.atan2(solution ? y : -y, right[i])));
  }

  const coloured = () => quantity === "value" && !solution;
  const key = () => `${quantity}${quantity === "value" && !solution ? "" : channel}`;
  function scale() {
    const [from, to] = coloured() ? range : quantity === "direction" ? [-Math.PI, Math.PI] : limits.get(key()) ?? [0, 1];
    const map = coloured() ? null : { value: palettes.sequential, gradient: palettes.sequential, direction: palettes.cyclic, laplacian: palettes.diverging }[quantity];
    return { name: NAMES[quantity], low: from, high: to, map };
  }

  /** Limits of a quantity from the whole signal, coarsely: all but a half percent at either end. */
  async function learnLimits() {
    const [wanted, of, part] = [key(), quantity, channel];
    const n = row ? 32 : 64;
    const found = await Promise.all((row ? [0, 0.25, 0.5, 0.75, 1] : [0]).map((moment) => {
      const request = plane.request(size[0] / 2, size[1] / 2, [n, n], [[size[0] / n, 0], [0, size[1] / n]], ORDERS[of]);
      const centre = request.centre.map((x, d) => (d < row ? low[d] + moment * (high[d] - low[d]) : x));
      return evaluate({ ...request, centre }, () => -1);
    }));
    const sorted = Float32Array.from(found.flatMap((one) => (one ? [...numbersOf(one, of, part)] : []))).sort();
    if (!sorted.length) return;
    const end = (/** @type {number} */ share) => sorted[Math.round(share * (sorted.length - 1))];
    const [least, most] = of === "value" ? [sorted[0], sorted[sorted.length - 1]] : [end(0.005), end(0.995)];
    const largest = Math.max(Math.abs(least), Math.abs(most)) || 1;
    limits.set(wanted, of === "laplacian" ? [-largest, largest] : of === "gradient" ? [0, most || 1] : least < most ? [least, most] : [least - 1, most + 1]);
    look();
  }

  function look() {
    if (!coloured() && quantity !== "direction" && !limits.has(key())) learnLimits();
    const now = scale();
    const [of, part] = [quantity, channel];
    plane.show({
      look: `${key()}/${now.low}/${now.high}`,
      order: ORDERS[quantity],
      paint: (found, side) => shaped(now.map ? mapped(numbersOf(found, of, part), now) : picture(found.map(inRange), channels, now), side),
    });
    drawScale(now);
  }

  // The scale.
  const bar = element("canvas", { class: "bar", role: "img", width: 256, height: 1 });
  const barTicks = element("div", { class: "ticks", "aria-hidden": "true" });
  const barName = element("span", { class: "bar-name" });
  /** @param {ReturnType<typeof scale>} now */
  function drawScale(now) {
    const ramp = Float32Array.from({ length: 256 }, (_, i) => now.low + (i / 255) * (now.high - now.low));
    /** @type {CanvasRenderingContext2D} */ (bar.getContext("2d")).putImageData(mapped(ramp, now), 0, 0);
    // Scales of derivatives end before the largest numbers.
    const beyond = (/** @type {number} */ i, /** @type {number} */ count) => (i === count - 1 && ["gradient", "laplacian"].includes(quantity) ? "≥ " : i === 0 && quantity === "laplacian" ? "≤ " : "");
    const marks = quantity === "direction" ? [[0, "left"], [0.25, "down"], [0.5, "right"], [0.75, "up"], [1, "left"]]
      : [now.low, ...ticks(now.low, now.high, 3), now.high].map((x, i, all) => [(x - now.low) / (now.high - now.low), `${beyond(i, all.length)}${short(Number(x.toPrecision(3)))}`])
        .filter(([share], i, all) => i === 0 || i === all.length - 1 || (Number(share) > 0.2 && Number(share) < 0.8));
    barTicks.replaceChildren(...marks.map(([share, label]) => {
      const mark = element("span", {}, String(label));
      Object.assign(mark.style, { left: `${100 * Number(share)}%`, transform: `translateX(${-100 * Number(share)}%)` });
      return mark;
    }));
    const whole = solution || channels < 3 || quantity !== "value";
    barName.textContent = `${now.name}${channels > 1 && whole ? ` of ${parts[channel]}` : ""}${["gradient", "laplacian"].includes(quantity) ? `, per coordinate${quantity === "laplacian" ? "²" : ""}` : ""}`;
    bar.setAttribute("aria-label", `Scale of the ${barName.textContent}: ${text(now.low)} to ${text(now.high)}`);
  }

  // The numbers under the cursor.
  const readout = element("dl", { class: "readout" });
  let asked = 0;
  let busy = false;
  async function read() {
    if (busy) return;
    busy = true;
    const mine = asked;
    const { u, v } = plane.cursor;
    const found = await evaluate(plane.request(u, v, [1, 1], [[1, 0], [0, 1]], "laplacian"), () => -2);
    busy = false;
    if (found) {
      const at = coordinates(u, v);
      const fine = (/** @type {number} */ x, /** @type {number} */ zoom) => x.toFixed(Math.max(1, Math.ceil(Math.log10(zoom)) + 1)).replace("-", "−");
      const y = (/** @type {number} */ s, c = channel) => found[s * channels + c];
      const of = channels > 1 ? ` of ${parts[channel]}` : "";
      const rows = [
        [solution ? axes.join(", ") : "row, column", solution ? at.map((x) => text(x, 5)).join(", ") : `${fine(u - 0.5, plane.camera.zoom[0])}, ${fine(v - 0.5, plane.camera.zoom[1])}`],
        ...parts.map((part, c) => [channels > 1 ? part : "value", text(inRange(y(0, c)), 5)]),
        [`gradient${of}`, Array.from({ length: inputs }, (_, d) => text(half * y(1 + d))).join(", ")],
        [`Laplacian${of}`, text(half * y(1 + inputs))],
      ];
      readout.replaceChildren(...rows.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]));
    }
    if (mine !== asked) read();
  }
  plane.onview = () => {
    asked++;
    read();
    if (cut !== null) drawCut();
  };

  // Pixels of the original, and axes of a solution, over the tiles.
  let pixels = false;
  let samples = original;
  const sampled = new Set(); // rows
  /** Evaluates the pixels of some rows, a few rows at a time. @param {number} first @param {number} last */
  function sample(first, last) {
    const w = shape[column];
    const into = (samples ??= new ImageData(w, shape[row]));
    const many = Math.max(1, Math.floor(1024 / w));
    for (let i = first - (first % many); i < last; i += many) {
      if (original || sampled.has(i)) continue;
      sampled.add(i);
      const rows = Math.min(many, shape[row] - i);
      evaluate(plane.request(i + rows / 2, w / 2, [rows, w], [[1, 0], [0, 1]], "value"), () => -1).then((found) => {
        if (found) into.data.set(picture(found.map(inRange), channels, { name: "value", low: range[0], high: range[1], map: null }).data, 4 * i * w);
        plane.draw();
      });
    }
  }
  plane.overlay = (context) => {
    const [side, aside] = plane.camera.zoom;
    if (pixels && Math.min(side, aside) >= 12) {
      const [top, bottom] = [plane.place(0, 0), plane.place(canvas.height, canvas.width)];
      sample(Math.max(0, Math.floor(top.u)), Math.min(size[0], bottom.u));
      const { data, width } = /** @type {ImageData} */ (samples);
      for (let i = Math.max(0, Math.floor(top.u)); i < Math.min(size[0], bottom.u); i++) {
        for (let j = Math.max(0, Math.floor(top.v)); j < Math.min(size[1], bottom.v); j++) {
          const { y, x } = plane.pixel(i + 0.5, j + 0.5);
          const r = Math.max(3, 0.15 * side);
          const at = 4 * (i * width + j);
          if (!data[at + 3]) continue;
          context.fillStyle = `rgb(${data[at]} ${data[at + 1]} ${data[at + 2]})`;
          context.fillRect(x - r, y - r, 2 * r, 2 * r);
          context.strokeStyle = data[at] > 127 ? "#000" : "#fff";
          context.strokeRect(x - r, y - r, 2 * r, 2 * r);
        }
      }
    }
    if (solution) drawAxes(context);
    if (cut !== null) drawLine(context);
  };

  /** @param {CanvasRenderingContext2D} context */
  function drawAxes(context) {
    const ratio = devicePixelRatio;
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    const [top, bottom] = [plane.place(0, 0), plane.place(canvas.height, canvas.width)];
    const label = (/** @type {string} */ words, /** @type {number} */ x, /** @type {number} */ y) => {
      const { width } = context.measureText(words);
      context.fillStyle = colour("veil");
      context.fillRect(x - 2 * ratio, y - 11 * ratio, width + 4 * ratio, 15 * ratio);
      context.fillStyle = colour("ink");
      context.fillText(words, x, y);
    };
    const along = (/** @type {number} */ axis, /** @type {number} */ from, /** @type {number} */ to, /** @type {number} */ length) =>
      ticks(...interval(axis, from, to, length), 6).map((x) => {
        const share = (x - low[axis]) / (high[axis] - low[axis]);
        return [(axis === row ? 1 - share : share) * length, x];
      });
    for (const [v, x] of along(column, top.v, bottom.v, size[1])) {
      const at = plane.pixel(0, v).x - 10 * ratio;
      if (at > 60 * ratio && at < canvas.width - 60 * ratio) label(short(x), at, canvas.height - 6 * ratio);
    }
    for (const [u, x] of along(row, top.u, bottom.u, size[0])) {
      const at = plane.pixel(u, 0).y + 4 * ratio;
      if (at > 30 * ratio && at < canvas.height - 24 * ratio) label(short(x), 4 * ratio, at);
    }
    label(`${axes[column]} →`, canvas.width - 40 * ratio, canvas.height - 24 * ratio);
    label(`${axes[row]} ↑`, 4 * ratio, 16 * ratio);
  }

  /** @param {number} axis @param {number} from @param {number} to @param {number} length @returns {[number, number]} */
  const interval = (axis, from, to, length) => {
    const x = (/** @type {number} */ at) => Math.min(length, Math.max(0, at)) / length;
    const [a, b] = axis === row ? [1 - x(to), 1 - x(from)] : [x(from), x(to)];
    return [low[axis] + a * (high[axis] - low[axis]), low[axis] + b * (high[axis] - low[axis])];
  };

  // A cut along a line through the cursor.
  /** @type {number | null} degrees from the columns' axis, counterclockwise as it is seen */
  let cut = null;
  const plot = element("canvas", { class: "plot", role: "img", hidden: true });
  /** The axis that the cut mostly follows, and its ends within view and sheet, if it meets them. */
  function ends() {
    const { u, v } = plane.cursor;
    const [sine, cosine] = [Math.sin, Math.cos].map((f) => Math.round(1e6 * f(((cut ?? 0) * Math.PI) / 180)) / 1e6);
    const [down, right] = [-sine / plane.camera.zoom[0], cosine / plane.camera.zoom[1]];
    const [top, bottom] = [plane.place(0, 0), plane.place(canvas.height, canvas.width)];
    let [first, last] = [-Infinity, Infinity];
    for (const [slope, a, b] of [[down, Math.max(0, top.u) - u, Math.min(size[0], bottom.u) - u], [right, Math.max(0, top.v) - v, Math.min(size[1], bottom.v) - v]]) {
      if (slope) [first, last] = [Math.max(first, Math.min(a / slope, b / slope)), Math.min(last, Math.max(a / slope, b / slope))];
    }
    if (!(first < last)) return null;
    const axis = Math.abs(cosine) >= Math.SQRT1_2 ? column : row;
    const [one, other] = [first, last].map((t) => {
      const [y, x] = [u + t * down, v + t * right];
      return { u: y, v: x, at: solution ? coordinates(y, x)[axis] : [y, x][axis - row] - 0.5 };
    });
    return { axis, span: one.at < other.at ? [one, other] : [other, one] };
  }
  /** @param {CanvasRenderingContext2D} context */
  function drawLine(context) {
    const [a, b] = ends()?.span.map(({ u, v }) => plane.pixel(u, v)) ?? [];
    if (!a) return;
    for (const [style, width] of /** @type {[string, number][]} */ ([["#000", 3], ["#fff", 1]])) {
      Object.assign(context, { strokeStyle: style, lineWidth: width * devicePixelRatio });
      context.beginPath();
      context.moveTo(a.x, a.y);
      context.lineTo(b.x, b.y);
      context.stroke();
    }
  }
  let [cutting, seen] = [false, ""];
  let renewed = 0; // how often the function has changed
  async function drawCut() {
    const [of, part, line] = [quantity, channel, cut === null ? null : ends()];
    if (!line) return;
    const { axis, span: [a, b] } = line;
    const now = String([of, part, a.u, a.v, b.u, b.v, fixed, renewed]);
    if (cutting || now === seen) return;
    [cutting, seen] = [true, now];
    plane.draw();
    const n = 512;
    const step = [(b.u - a.u) / (n - 1), (b.v - a.v) / (n - 1)];
    const found = await evaluate(plane.request((a.u + b.u) / 2, (a.v + b.v) / 2, [n], [step], ORDERS[of]), () => -1);
    cutting = false;
    drawCut(); // the cursor may have moved
    if (found && cut !== null) curve(plot, numbersOf(found, of, part), [a.at, b.at], axes[axis], `${NAMES[of]}${channels > 1 ? ` of ${parts[part]}` : ""}`);
  }

  // Saving, at any size.
  const width = element("input", { type: "number", min: 1, max: LONGEST, value: Math.min(LONGEST, 2 * size[1]), "aria-label": "Width of the saved PNG in pixels" });
  async function save() {
    const most = Math.min(LONGEST, (LONGEST * size[1]) / size[0]);
    const columns = Math.max(1, Math.floor(Math.min(most, Number(width.value) || 1)));
    const rows = Math.max(1, Math.round((columns * size[0]) / size[1]));
    const target = element("canvas", { width: columns, height: rows });
    const context = /** @type {CanvasRenderingContext2D} */ (target.getContext("2d"));
    const [of, part, now] = [quantity, channel, scale()];
    const strip = Math.max(1, Math.floor(16384 / columns));
    const step = [[size[0] / rows, 0], [0, size[1] / columns]];
    await Promise.all(Array.from({ length: Math.ceil(rows / strip) }, async (_, k) => {
      const height = Math.min(strip, rows - k * strip);
      const found = await evaluate(plane.request(((k * strip + height / 2) * size[0]) / rows, size[1] / 2, [height, columns], step, ORDERS[of]), () => 1e5);
      if (found) context.putImageData(shaped(now.map ? mapped(numbersOf(found, of, part), now) : picture(found.map(inRange), channels, now), columns), 0, k * strip);
    }));
    target.toBlob((blob) => blob && download(blob, `${name}.png`));
  }

  let oblique = 45;
  const angle = slider("Angle", 0, 180, oblique, (degrees) => `${Math.round(degrees)}°`, (degrees) => {
    cut = oblique = degrees;
    drawCut();
  });
  angle.hidden = true;
  const quantities = /** @type {[string, string][]} */ (Object.entries(NAMES));
  panel.append(
    choice("Show", quantities, (value) => { quantity = /** @type {Quantity} */ (value); look(); }),
    ...(channels > 1 ? [select("Channel of scalars", parts.map((part, i) => [String(i), part]), (value) => { channel = Number(value); look(); asked++; read(); })] : []),
    element("figure", { class: "scale" }, element("figcaption", {}, barName), bar, barTicks),
    ...others(),
    buttons(plane.moves),
    ...(solution ? [] : [tick(original ? "Pixels of the original" : "Pixels, as the function has them", (on) => { pixels = on; if (on && plane.camera.zoom[0] < 24) plane.zoom(24 / plane.camera.zoom[0]); plane.draw(); })]),
    select("Cut through the cursor", [["none", "none"], ["0", solution ? `along ${axes[column]}` : "along the row"], ["90", solution ? `along ${axes[row]}` : "along the column"], ["oblique", "at an angle"]], (value) => {
      cut = value === "none" ? null : value === "oblique" ? oblique : Number(value);
      angle.hidden = value !== "oblique";
      plot.hidden = cut === null;
      plane.draw();
      drawCut();
    }),
    angle,
    element("div", { class: "row" }, button("Save PNG", save), width, "px wide"),
    element("h2", {}, "Under the cursor"), readout,
    element("p", { class: "note" }, `Gradients are along ${axes.join(", ")}, per coordinate${solution ? "" : `; ${short(Math.max(...shape) / 2)} pixels are 1`}.`),
  );
  stage.append(canvas, plot);
  look();
  return {
    close() {},
    renew(passing) {
      renewed++;
      for (const known of limits.keys()) if (known !== key()) limits.delete(known);
      if (limits.size) learnLimits();
      sampled.clear();
      plane.poster = null;
      plane.renew(passing);
    },
  };
}

/** Names of a file's record, which is untrusted, if they are of the right number. @param {any} given @param {number} count @param {string[]} usual */
const names = (given, count, usual) =>
  (Array.isArray(given) && given.length === count ? given : usual.slice(0, count)).map((name) => String(name).slice(0, 40));
