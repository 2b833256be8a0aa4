// @ts-check
/** Numbers as a curve with axes. */
import { short, ticks } from "./colours.js";
import { colour } from "./page.js";

/** Draws numbers as a curve with axes. @param {HTMLCanvasElement} canvas @param {ArrayLike<number>} numbers
 * @param {[number, number]} ends of the abscissa @param {string} abscissa @param {string} ordinate
 * @param {{ places?: number[], named?: (value: number) => string, placed?: (place: number) => string }} more abscissae of
 * the numbers, which otherwise have equal distances, and how numbers and abscissae are written */
export function curve(canvas, numbers, ends, abscissa, ordinate, { places, named = short, placed = short } = {}) {
  const ratio = devicePixelRatio;
  Object.assign(canvas, { width: Math.round(canvas.clientWidth * ratio), height: Math.round(canvas.clientHeight * ratio) });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const [left, bottom, top] = [56 * ratio, canvas.height - 22 * ratio, 18 * ratio];
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < numbers.length; i++) [least, most] = [Math.min(least, numbers[i]), Math.max(most, numbers[i])];
  if (!(least < most)) [least, most] = [least - 1, most + 1];
  const at = (/** @type {number} */ i) => (places ? (places[i] - ends[0]) / (ends[1] - ends[0]) : i / (numbers.length - 1));
  const x = (/** @type {number} */ share) => left + share * (canvas.width - left - 8 * ratio);
  const y = (/** @type {number} */ value) => bottom - ((value - least) / (most - least)) * (bottom - top);
  Object.assign(context, { font: `${12 * ratio}px system-ui, sans-serif`, fillStyle: colour("ink"), strokeStyle: colour("line"), lineWidth: ratio });
  context.beginPath();
  for (const value of ticks(least, most, 4)) {
    context.moveTo(left, y(value));
    context.lineTo(canvas.width, y(value));
    context.fillText(named(value), 4 * ratio, y(value) + 4 * ratio);
  }
  for (const value of ticks(...ends, Math.min(6, canvas.clientWidth / 90))) {
    const words = placed(value);
    const most = canvas.width - context.measureText(words).width;
    context.fillText(words, Math.min(most, x((value - ends[0]) / (ends[1] - ends[0])) - 8 * ratio), canvas.height - 6 * ratio);
  }
  context.stroke();
  context.fillText(ordinate, Math.max(4 * ratio, Math.min(left, canvas.width - context.measureText(ordinate).width)), 12 * ratio);
  context.fillText(abscissa, canvas.width - (8 + 7 * abscissa.length) * ratio, bottom - 4 * ratio);
  Object.assign(context, { strokeStyle: colour("accent"), lineWidth: 1.5 * ratio });
  context.beginPath();
  for (let i = 0; i < numbers.length; i++) context.lineTo(x(at(i)), y(numbers[i]));
  context.stroke();
  canvas.setAttribute("aria-label", `${ordinate} along ${abscissa} from ${placed(ends[0])} to ${placed(ends[1])}: ${named(least)} to ${named(most)}`);
}
