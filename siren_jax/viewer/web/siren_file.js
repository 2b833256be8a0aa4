// @ts-check
/** Reads `.siren` files, as docs/file-format.md specifies them. */

/** @typedef {{ kernel: Float32Array, bias: Float32Array, inputs: number, units: number }} Layer  kernel[input * units + unit] */
/** @typedef {{ type: "everywhere", units: number } | { type: "gaussian", units: number, place: number[], width: number[] }
 *   | { type: "beyond", units: number, axis: number, low: number | null, high: number | null, power: number, unit: number }} Block  units of the first layer */
/** @typedef {{ layers: Layer[], omegas: number[], activation: "sine" | "relu", outermost: string, inputs: number, graded: [place: number, width: number][][], windows: Block[], channels: number, width: number, depth: number, weights: number }} Network  graded: of each coordinate; empty if none is; so are windows */
/** @typedef {{ kind: string, shape: number[], low: number[], high: number[], range: [number, number], rate: number, placement: { centre: number[], scale: number } | null, record: Record<string, any>, network: Network, precision: string }} Signal */

export class FileError extends Error {}

const LIMITS = { in_features: [1, 4], out_features: [1, 4], width: [1, 1024], depth: [0, 50] };
const AXES = /** @type {Record<string, number>} */ ({ sound: 1, image: 2, video: 3, shape: 3 });
const OUTERMOST = ["linear", "sine", "sigmoid", "tanh"];
const BYTES = /** @type {Record<string, number>} */ ({ F32: 4, F16: 2, BF16: 2, I8: 1, F64: 8 });
const STORED = /** @type {Record<string, string>} */ ({ float32: "F32", float16: "F16", bfloat16: "BF16", int8: "I8", float64: "F64" });
const MAX_HEADER = 2 ** 20;

/** @param {unknown} condition @param {string} message @returns {asserts condition} */
function check(condition, message) {
  if (!condition) throw new FileError(message);
}

/** @param {any} value @returns {value is number} */
const finite = (value) => typeof value === "number" && Number.isFinite(value);
/** @param {any} value @param {number} least @param {number} most */
const whole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
/** @param {any} value @param {number} count @returns {value is number[]} */
const numbers = (value, count) => Array.isArray(value) && value.length === count && value.every((x) => finite(x) && Math.abs(x) <= 1e18);

/** JSON, in which NaN and infinities of earlier writers are null. @param {string} text @returns {any} */
function json(text) {
  const parts = text.split(/("(?:[^"\\]|\\.)*")/); // odd ones are strings
  return JSON.parse(parts.map((part, i) => (i % 2 ? part : part.replace(/-?\b(NaN|Infinity)\b/g, "null"))).join(""));
}

/** @param {any} value @returns {value is Record<string, any>} */
const object = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The signal in a file. @param {ArrayBuffer} buffer @returns {Signal} */
export function read(buffer) {
  const [arrays, header] = container(buffer);
  const version = header.format;
  check(whole(version, 1, 1e9), "This file is not a .siren file: its header has no format version.");
  check(version <= 2, `This file has the format version ${version}; this page reads versions 1 and 2. Make the page anew with a newer siren-jax.`);
  const precision = version === 1 ? "float32" : header.precision;
  check(typeof precision === "string" && Object.hasOwn(STORED, precision), "This file is damaged: its precision is not known.");
  return { ...description(header), network: network(header.network, version, precision, arrays, buffer), precision };
}

/** The arrays that safetensors declares, and the header. @param {ArrayBuffer} buffer
 * @returns {[Map<string, { type: string, shape: number[], start: number }>, Record<string, any>]} */
function container(buffer) {
  const truncated = "This file is not a .siren file, or is truncated.";
  check(buffer.byteLength > 8, truncated);
  const length = Number(new DataView(buffer).getBigUint64(0, true));
  check(length <= MAX_HEADER && 8 + length <= buffer.byteLength, truncated);
  let declared, header;
  try {
    const decode = new TextDecoder("utf-8", { fatal: true });
    declared = JSON.parse(decode.decode(new Uint8Array(buffer, 8, length)));
    header = json(declared.__metadata__.siren);
  } catch {
    throw new FileError(truncated);
  }
  check(object(declared) && object(header), truncated);
  const arrays = new Map();
  let total = 0;
  for (const [name, entry] of Object.entries(declared)) {
    if (name === "__metadata__") continue;
    const { dtype: type, shape, data_offsets: ends } = object(entry) ? entry : {};
    const sound = Object.hasOwn(BYTES, type) && Array.isArray(shape) && shape.length <= 2 && shape.every((n) => whole(n, 0, 2 ** 20));
    check(sound && numbers(ends, 2), truncated);
    const size = shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1) * BYTES[type];
    check(whole(ends[0], 0, 2 ** 40) && ends[1] - ends[0] === size && 8 + length + ends[1] <= buffer.byteLength, truncated);
    arrays.set(name, { type, shape, start: 8 + length + ends[0] });
    total += size;
  }
  check(8 + length + total === buffer.byteLength, "This file is damaged: it has bytes that belong to no array.");
  return [arrays, header];
}

/** What the header says of the signal. @param {Record<string, any>} header */
function description(header) {
  const { kind, frame, value_range: range, record, placement } = header;
  check(typeof kind === "string", "This file is damaged: it has no kind of signal.");
  const shape = object(frame) ? frame.shape : null;
  check(Array.isArray(shape) && shape.length > 0 && shape.every((n) => whole(n, 1, 2 ** 31)), "This file is damaged: its frame has no shape.");
  check(!Object.hasOwn(AXES, kind) || AXES[kind] === shape.length, `This file contradicts itself: a ${kind} has ${AXES[kind]} axes.`);
  check(Array.isArray(range) && range.length === 2 && range.every(finite) && range[0] < range[1] && finite(range[1] - range[0]), "This file is damaged: it has no value range.");
  const rated = kind === "sound" || kind === "video";
  check(!rated || (finite(header.rate) && header.rate > 0), `This file is damaged: its ${kind} has no rate.`);
  const placed = object(placement) && numbers(placement.centre, 3) && finite(placement.scale) && placement.scale > 0;
  check(kind !== "shape" || placed, "This file is damaged: its shape has no placement.");
  const longest = Math.max(...shape);
  let [low, high] = [shape.map((n) => -n / longest), shape.map((n) => n / longest)];
  if (kind === "solution") {
    const sound = numbers(frame.low, shape.length) && numbers(frame.high, shape.length) && shape.every((_, i) => frame.low[i] < frame.high[i]);
    check(sound, "This file is damaged: its domain has no ends.");
    [low, high] = [frame.low, frame.high];
  }
  return {
    kind, shape, low, high, range: /** @type {[number, number]} */ (range), rate: rated ? header.rate : 0,
    placement: kind === "shape" ? placement : null, record: object(record) ? record : {},
  };
}

/** @param {any} given @param {number} version @param {string} precision @param {ReturnType<typeof container>[0]} arrays @param {ArrayBuffer} buffer
 * @returns {Network} */
function network(given, version, precision, arrays, buffer) {
  const types = version > 1 ? ["siren", "relu", "latent"] : ["siren", "relu"];
  check(object(given) && types.includes(given.type), "This file is damaged: its network has no known type.");
  for (const [field, [least, most]] of Object.entries(LIMITS)) {
    check(Number.isInteger(given[field]), `This file is damaged: its network has no ${field}.`);
    check(whole(given[field], least, most), `This page shows networks with ${field} from ${least} to ${most}, but this one has ${given[field]}.`);
  }
  const [sine, latent] = [given.type !== "relu", given.type === "latent"];
  check(!latent || (whole(given.latent, 1, 2 ** 16) && typeof given.scaled === "boolean"), "This file is damaged: its network has no codes.");
  check(!latent || precision !== "float64", "This file is damaged: a space of signals has no float64.");
  const further = precision === "float64" ? "F64" : "F32"; // type of the biases and the first kernel
  const { in_features: inputs, out_features: channels, width, depth } = given;
  const outermost = given.type === "siren" && version > 1 ? given.outermost : "linear";
  check(OUTERMOST.includes(outermost), "This file is damaged: its outermost function is not known.");
  const omega = (/** @type {any} */ value) => finite(value) && value > 0 && value < 1e9;
  check(!sine || (omega(given.first_omega) && omega(given.omega)), "This file is damaged: its network has no omega.");
  const periods = given.type === "siren" && version > 1 ? given.periodic : undefined;
  const period = (/** @type {any} */ value) => [value, value * given.first_omega].every((x) => finite(x) && x >= 1e-18 && x <= 1e18);
  const sound = Array.isArray(periods) && periods.length === inputs && periods.some((p) => p !== null) && periods.every((p) => p === null || period(p));
  check(periods === undefined || sound, "This file is damaged: its network has no periods.");
  const graded = given.type === "siren" && version > 1 ? given.graded : undefined;
  const pair = (/** @type {any} */ value) => numbers(value, 2) && Math.abs(value[0]) <= 1e9 && value[1] >= 1e-9 && value[1] <= 1e9;
  const placed = (/** @type {any} */ pairs, /** @type {number} */ d) => Array.isArray(pairs) && pairs.length <= 64 && pairs.every(pair) && !(pairs.length && (periods?.[d] ?? null) !== null);
  const graduated = Array.isArray(graded) && graded.length === inputs && graded.every(placed) && graded.some((pairs) => pairs.length);
  check(graded === undefined || graduated, "This file is damaged: its network has no places to which it is graded.");
  const windows = given.type === "siren" && version > 1 ? given.windows : undefined;
  check(windows === undefined || blocks(windows, inputs, width), "This file is damaged: its network has no windows of its units.");
  const layers = [];
  let weights = 0;
  const used = new Set();
  const take = (/** @type {string} */ name, /** @type {string} */ type, /** @type {number[]} */ shape) => {
    const found = arrays.get(name);
    check(found && found.type === type && found.shape.join() === shape.join(), `This file contradicts itself: ${name} is not as its header says.`);
    used.add(name);
    return decoded(buffer, type, found.start, shape.reduce((a, b) => a * b, 1));
  };
  const code = latent ? take("code", "F32", [given.latent]) : new Float32Array(0);
  for (let i = 0; i <= depth + 1; i++) {
    const name = sine ? (i > depth ? "output" : `layers.${i}.linear`) : `layers.${i}`;
    const [rows, units] = [i ? width : inputs, i > depth ? channels : width];
    const type = i ? STORED[precision] : further;
    const kernel = take(`${name}.kernel`, type, [rows, units]);
    if (type === "I8") {
      const scale = take(`${name}.kernel.scale`, "F32", [units]);
      for (let k = 0; k < kernel.length; k++) kernel[k] *= scale[k % units];
    }
    const bias = given.type === "siren" && given.use_bias === false ? new Float32Array(units) : take(`${name}.bias`, further, [units]);
    if (latent && i <= depth) {
      // The SIREN of the file's code z: W' = W·diag(1 + Rz), b' = (1 + Rz)∘b + Sz.
      const map = (/** @type {string} */ part) => product(code, take(`${part}.${i}`, "F32", [given.latent, width]));
      const shift = map("shifts");
      const scale = given.scaled ? map("scales").map((r) => 1 + r) : new Float32Array(width).fill(1);
      for (let k = 0; k < kernel.length; k++) kernel[k] *= scale[k % width];
      for (let k = 0; k < width; k++) bias[k] = scale[k] * bias[k] + shift[k];
    }
    if (i === 0 && periods) wholePeriods(kernel, periods, given.first_omega);
    check(kernel.every(Number.isFinite) && bias.every(Number.isFinite), `This file is damaged: ${name} has weights that are not finite.`);
    layers.push({ kernel, bias, inputs: rows, units });
    weights += kernel.length + bias.length;
  }
  check(used.size === arrays.size, "This file contradicts itself: it has arrays that its network does not have.");
  const omegas = layers.map((_, i) => (sine ? (i ? given.omega : given.first_omega) : 1));
  return { layers, omegas, activation: sine ? "sine" : "relu", outermost, inputs, graded: graded ?? [], windows: windows ?? [], channels, width, depth, weights };
}

/** Whether these are the blocks of a first layer, with a window of at least one. @param {any} given @param {number} inputs @param {number} width
 * @returns {given is Block[]} */
function blocks(given, inputs, width) {
  const within = (/** @type {any} */ value, /** @type {number} */ least) => finite(value) && value >= least && value <= 1e9;
  const fields = /** @type {Record<string, number>} */ ({ everywhere: 2, gaussian: 4, beyond: 7 });
  const known = /** @type {Record<string, (block: Record<string, any>) => boolean>} */ ({
    everywhere: () => true,
    gaussian: ({ place, width }) => numbers(place, inputs) && place.every((x) => within(x, -1e9)) && numbers(width, inputs) && width.every((x) => within(x, 1e-9)),
    beyond: ({ axis, low, high, power, unit }) =>
      whole(axis, 0, inputs - 1) && [low, high].every((end) => end === null || within(end, -1e9)) && (low ?? -Infinity) < (high ?? Infinity) &&
      (low !== null || high !== null) && whole(power, 1, 8) && within(unit, 1e-9),
  });
  const sound = (/** @type {any} */ block) =>
    object(block) && typeof block.type === "string" && Object.hasOwn(known, block.type) && Object.keys(block).length === fields[block.type] &&
    whole(block.units, 1, width) && known[block.type](block);
  const some = Array.isArray(given) && given.length <= 256 && given.every(sound) && given.some((block) => block.type !== "everywhere");
  return some && given.reduce((sum, block) => sum + block.units, 0) === width;
}

/** Rounds the weights of periodic coordinates to whole numbers of periods, in place.
 * @param {Float32Array} kernel of the first layer @param {(number | null)[]} periods of the coordinates @param {number} omega */
function wholePeriods(kernel, periods, omega) {
  const units = kernel.length / periods.length;
  periods.forEach((period, d) => {
    if (period === null) return;
    const one = (2 * Math.PI) / (omega * period);
    for (let k = d * units; k < (d + 1) * units; k++) kernel[k] = Math.round(kernel[k] / one) * one;
  });
}

/** A row times a matrix with as many rows as it has numbers. @param {Float32Array} row @param {Float32Array} matrix */
function product(row, matrix) {
  const found = new Float32Array(matrix.length / row.length);
  for (let k = 0; k < matrix.length; k++) found[k % found.length] += row[Math.floor(k / found.length)] * matrix[k];
  return found;
}

/** @param {ArrayBuffer} buffer @param {string} type @param {number} start @param {number} count @returns {Float32Array} */
function decoded(buffer, type, start, count) {
  const bytes = buffer.slice(start, start + count * BYTES[type]); // aligned
  if (type === "F32") return new Float32Array(bytes);
  if (type === "F64") return Float32Array.from(new Float64Array(bytes)); // the page evaluates in float32
  if (type === "I8") return Float32Array.from(new Int8Array(bytes));
  const halves = new Uint16Array(bytes);
  const bits = new Uint32Array(count);
  if (type === "BF16") bits.forEach((_, i) => (bits[i] = halves[i] << 16));
  else {
    // A float16 is 2^112 times too small if its bits are those of a float32 but for the width of the exponent.
    const found = new Float32Array(bits.buffer);
    halves.forEach((half, i) => {
      bits[i] = ((half & 0x7fff) << 13) >>> 0;
      found[i] = (half & 0x7c00) === 0x7c00 ? NaN : found[i] * 2 ** 112 * (half & 0x8000 ? -1 : 1);
    });
  }
  return new Float32Array(bits.buffer);
}
