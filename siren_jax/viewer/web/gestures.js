// @ts-check
/** What mouse, fingers, wheel and keys do on a canvas: they pan, zoom and point, in CSS pixels of the canvas. */
import { button, element } from "./page.js";

/** @typedef {{ y: number, x: number }} Pixel */
/** @typedef {object} Moves
 * @property {(down: number, right: number) => void} pan
 * @property {(factor: number, about?: Pixel) => void} zoom about the middle if there is no place that stays
 * @property {() => void} all shows everything
 * @property {(at?: Pixel) => void} [point] by the mouse; by keys at the middle */

const STEP = 0.1; // of the canvas, of an arrow key
const ZOOM = 1.5; // of a key or button

/** Listens to a canvas. @param {HTMLCanvasElement} canvas @param {Moves} moves */
export function listen(canvas, { pan, zoom, all, point = () => {} }) {
  /** @type {Map<number, Pixel>} */
  const fingers = new Map();
  const at = (/** @type {MouseEvent} */ event) => {
    const box = canvas.getBoundingClientRect();
    return { y: event.clientY - box.top, x: event.clientX - box.left };
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(0, -event.deltaX);
    else zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015) * (event.ctrlKey ? 5 : 1)), at(event));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    point(at(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    const [before, now] = [fingers.get(event.pointerId), at(event)];
    if (!before) return point(now);
    const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
    fingers.set(event.pointerId, now);
    if (!other) return pan(now.y - before.y, now.x - before.x);
    const apart = (/** @type {Pixel} */ one) => Math.max(1, Math.hypot(one.y - other.y, one.x - other.x));
    zoom(apart(now) / apart(before), { y: (before.y + other.y) / 2, x: (before.x + other.x) / 2 });
    pan((now.y - before.y) / 2, (now.x - before.x) / 2);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => fingers.delete(/** @type {PointerEvent} */ (event).pointerId));
  }
  canvas.addEventListener("keydown", (event) => {
    const [down, right] = [STEP * canvas.clientHeight, STEP * canvas.clientWidth];
    const actions = /** @type {Record<string, () => void>} */ ({
      ArrowUp: () => pan(down, 0), ArrowDown: () => pan(-down, 0), ArrowLeft: () => pan(0, right), ArrowRight: () => pan(0, -right),
      "+": () => zoom(ZOOM), "=": () => zoom(ZOOM), "-": () => zoom(1 / ZOOM), 0: all,
    });
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
    point();
  });
}

/** The same as buttons. @param {Moves} moves @param {string} everything what is seen after `all` */
export const buttons = ({ zoom, all }, everything = "Show all") =>
  element("div", { class: "row" }, button("+", () => zoom(ZOOM), "Zoom in"), button("−", () => zoom(1 / ZOOM), "Zoom out"), button("All", all, everything));
