// @ts-check
/** Numbers as colours. */

/** @typedef {{ name: string, low: number, high: number, map: Uint8Array | null }} Scale  no map: the values are grey or colours */

/** The colours of channels of a picture, between the ends of a scale; one channel is grey, a second and a fourth one are
 * opacity. @param {Float32Array} values `[channel][point]` @param {number} channels @param {Scale} scale @returns {ImageData} of a row */
export function picture(values, channels, { low, high }) {
  const count = values.length / channels;
  const image = new ImageData(count, 1);
  const colours = channels < 3 ? 1 : 3;
  for (let i = 0; i < count; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = (255 * (values[Math.min(c, colours - 1) * count + i] - low)) / (high - low);
    image.data[4 * i + 3] = channels > colours ? (255 * (values[colours * count + i] - low)) / (high - low) : 255;
  }
  return image;
}

/** @param {Float32Array} values one for each point @param {Scale} scale @returns {ImageData} of a row */
export function mapped(values, { low, high, map }) {
  const image = new ImageData(values.length, 1);
  values.forEach((value, i) => {
    const at = 3 * Math.round(255 * Math.min(1, Math.max(0, (value - low) / (high - low))));
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = map ? map[at + c] : (at / 3);
    image.data[4 * i + 3] = 255;
  });
  return image;
}

/** A row of points as an image of `width` columns. @param {ImageData} row @param {number} width */
export const shaped = (row, width) => new ImageData(row.data, width);

/** A number in at most `digits` digits that count, as a person writes it. @param {number} x @param {number} digits */
export function text(x, digits = 4) {
  if (x === 0 || !Number.isFinite(x)) return String(x);
  const size = Math.floor(Math.log10(Math.abs(x)));
  if (size < -3 || size > 5) return x.toExponential(digits - 1).replace("e+", "e").replace("-", "−").replace("e-", "e−");
  return x.toFixed(Math.max(0, digits - 1 - size)).replace("-", "−");
}

/** A number of a scale: no digits that do not count. @param {number} x */
export const short = (x) => (Math.abs(x) < 1e6 ? String(Number(x.toPrecision(4))) : x.toExponential(3).replace(/\.?0*e/, "e")).replace(/-/g, "−").replace("e+", "e");

/** Numbers at round distances within an interval. @param {number} low @param {number} high @param {number} about how many */
export function ticks(low, high, about = 5) {
  const raw = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = /** @type {number} */ ([1, 2, 5, 10].find((n) => n * power >= raw)) * power;
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}
