// @ts-check
/** A network evaluated by WebAssembly: the evaluator that works everywhere. */
import { COLUMNS, ROWS } from "./kernels.js";

/** @typedef {import("./siren_file.js").Network} Network */
/** @typedef {"value" | "gradient" | "laplacian"} Order  streams: values; and first derivatives; and the Laplacian */
/** @typedef {{ centre: number[], offsets: Float32Array, order: Order }} Points  offsets[axis * n + i] from the centre */

export const POINTS = 8 * COLUMNS; // in a chunk, whose arrays stay in the cache

/** @param {Order} order @param {number} inputs @returns {number} numbers per point and channel */
export const streamsOf = (order, inputs) => (order === "value" ? 1 : 1 + inputs + Number(order === "laplacian"));

/** Points of a grid: centre + Σ_a index_a · steps_a, with index_a from -(n_a - 1)/2 on; the last axis varies fastest.
 * @param {number[]} shape @param {number[][]} steps of each axis, in coordinates @returns {Float32Array} offsets */
export function gridOffsets(shape, steps) {
  const count = shape.reduce((a, b) => a * b, 1);
  const inputs = steps[0].length;
  const offsets = new Float32Array(inputs * count);
  for (let i = 0; i < count; i++) {
    let rest = i;
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const index = (rest % shape[axis]) - (shape[axis] - 1) / 2;
      rest = Math.floor(rest / shape[axis]);
      for (let d = 0; d < inputs; d++) offsets[d * count + i] += index * steps[axis][d];
    }
  }
  return offsets;
}

/** @typedef {{ centre: number[], offsets: Float32Array, slopes: Float32Array | null, bends: Float32Array | null }} Placed */

/** Points in the coordinates that the first layer acts on: of a graded coordinate m = Σ asinh((x - place)/width), and the
 * slopes m' and bends m'' at every point as the offsets; null where no coordinate is graded: they are 1 and 0.
 * @param {Network} network @param {Pick<Points, "centre" | "offsets">} points @returns {Placed} */
export function placed({ graded, inputs }, { centre, offsets }) {
  if (!graded.length) return { centre, offsets, slopes: null, bends: null };
  const count = offsets.length / inputs;
  const middle = centre.map((x, d) => (graded[d].length ? stretched(graded[d], x)[0] : x));
  const [moved, slopes, bends] = [offsets.slice(), new Float32Array(offsets.length).fill(1), new Float32Array(offsets.length)];
  graded.forEach((pairs, d) => {
    if (!pairs.length) return;
    for (let i = d * count; i < (d + 1) * count; i++) {
      const [m, slope, bend] = stretched(pairs, centre[d] + offsets[i]); // in float64, as the difference
      [moved[i], slopes[i], bends[i]] = [m - middle[d], slope, bend];
    }
  });
  return { centre: middle, offsets: moved, slopes, bends };
}

/** m, m' and m'' at x. @param {[place: number, width: number][]} pairs @param {number} x */
function stretched(pairs, x) {
  let [m, slope, bend] = [0, 0, 0];
  for (const [place, width] of pairs) {
    const r = 1 / Math.hypot(x - place, width);
    m += Math.asinh((x - place) / width);
    slope += r;
    bend -= (x - place) * r * r * r;
  }
  return [m, slope, bend];
}

/** The windows of the first layer at some of the points, `[block][stream][point]`: of each block that has one, the factor w
 * of its units, its slopes w_d and Σ_d w_dd. @param {Network} network @param {Pick<Points, "centre" | "offsets">} points
 * @param {number} start @param {number} n points from there @param {Order} order @returns {Float32Array} */
export function factors({ windows, inputs }, { centre, offsets }, start, n, order) {
  const [count, streams] = [offsets.length / inputs, streamsOf(order, inputs)];
  const result = new Float32Array(windows.length * streams * n);
  const x = new Float64Array(inputs);
  const slopes = new Float64Array(inputs);
  windows.forEach((block, b) => {
    const at = b * streams * n;
    for (let i = 0; i < n; i++) {
      for (let d = 0; d < inputs; d++) x[d] = centre[d] + offsets[d * count + start + i];
      slopes.fill(0);
      const [w, bend] = factor(block, x, slopes);
      result[at + i] = w;
      if (order !== "value") slopes.forEach((slope, d) => (result[at + (1 + d) * n + i] = slope));
      if (order === "laplacian") result[at + (1 + inputs) * n + i] = bend;
    }
  });
  return result;
}

/** w and Σ_d w_dd of a block at x; writes its slopes, which were zeros. @param {import("./siren_file.js").Block} block
 * @param {Float64Array} x @param {Float64Array} slopes @returns {[w: number, bend: number]} */
function factor(block, x, slopes) {
  if (block.type === "gaussian") {
    const steps = block.place.map((c, d) => (x[d] - c) / block.width[d]);
    const w = Math.exp(-0.5 * steps.reduce((sum, step) => sum + step * step, 0));
    let bend = 0;
    steps.forEach((step, d) => {
      slopes[d] = (-step * w) / block.width[d];
      bend += ((step * step - 1) * w) / block.width[d] ** 2;
    });
    return [w, bend];
  }
  if (block.type === "beyond") {
    const { axis, low, high, power, unit } = block;
    const [below, above] = [Math.min(0, x[axis] - (low ?? -Infinity)), Math.max(0, x[axis] - (high ?? Infinity))];
    const s = (above - below) / unit;
    if (s === 0) return [0, 0];
    slopes[axis] = (power * s ** (power - 1) * Math.sign(above + below)) / unit;
    return [s ** power, power > 1 ? (power * (power - 1) * s ** (power - 2)) / unit ** 2 : 0];
  }
  return [1, 0];
}

/** The block of each unit of the first layer. @param {Network} network @returns {number[]} */
export const blockOf = ({ windows }) => windows.flatMap(({ units }, b) => Array(units).fill(b));

/** @param {number} n @param {number} to */
const padded = (n, to) => Math.ceil(n / to) * to;

export class WasmNetwork {
  /** @param {WebAssembly.Module} module of `kernels` @param {Network} network */
  constructor(module, network) {
    this.network = network;
    const floats = network.layers.reduce((sum, { inputs, units }) => sum + (inputs + 1) * padded(units, ROWS), 0);
    const streams = streamsOf("laplacian", network.inputs);
    const rows = Math.max(padded(network.width, ROWS), padded(network.channels, ROWS), network.inputs);
    const area = rows * streams * POINTS;
    const memory = new WebAssembly.Memory({ initial: Math.ceil(((floats + 2 * area) * 4 + 1024) / 65536) });
    this.run = /** @type {Record<"dense" | "sine" | "relu", (...numbers: number[]) => void>} */ (
      /** @type {unknown} */ (new WebAssembly.Instance(module, { env: { memory } }).exports)
    );
    this.floats = new Float32Array(memory.buffer);
    let at = 64;
    const reserve = (/** @type {number} */ count) => (at += count) - count;
    this.layers = network.layers.map(({ inputs, units }) => {
      const rows = padded(units, ROWS);
      return { weights: reserve(inputs * rows), bias: reserve(rows), inputs, units: rows };
    });
    this.areas = [reserve(area), reserve(area)];
    this.load(network);
  }

  /** Takes the weights of a network of the same sizes. @param {Network} network */
  load(network) {
    this.network = network;
    const turns = 1 / (2 * Math.PI);
    const sine = network.activation === "sine";
    const last = network.layers.length - 1;
    network.layers.forEach(({ kernel, bias, inputs, units }, i) => {
      const layer = this.layers[i];
      const scale = sine && i < last ? network.omegas[i] * turns : 1;
      for (let k = 0; k < inputs; k++) {
        for (let j = 0; j < units; j++) {
          const block = j - (j % ROWS);
          this.floats[layer.weights + block * inputs + k * ROWS + (j - block)] = scale * kernel[k * units + j];
        }
      }
      bias.forEach((b, j) => (this.floats[layer.bias + j] = sine && i < last ? phase(scale * b) : b));
    });
  }

  /** The network at points, `[stream][channel][point]`: values, derivatives along each coordinate, Laplacian.
   * @param {Points} points @returns {Float32Array} */
  evaluate({ order, ...points }) {
    const { inputs, channels } = this.network;
    const at = { ...placed(this.network, points), points };
    const { centre, offsets } = at;
    const count = offsets.length / inputs;
    const streams = streamsOf(order, inputs);
    const result = new Float32Array(streams * channels * count);
    this.#placeAt(centre);
    for (let start = 0; start < count; start += POINTS) {
      const n = Math.min(POINTS, count - start);
      const found = this.#chunk(at, start, n, count, order);
      for (let c = 0; c < channels; c++) {
        for (let s = 0; s < streams; s++) {
          const from = found + (c * streams + s) * POINTS;
          result.set(this.floats.subarray(from, from + n), (s * channels + c) * count + start);
        }
      }
    }
    finish(this.network, result, order);
    return result;
  }

  /** The first layer's biases are its phases at the centre, in turns, from float64: offsets from it are small and exact.
   * @param {number[]} centre */
  #placeAt(centre) {
    const { kernel, bias, units } = this.network.layers[0];
    const omega = this.network.omegas[0];
    const sine = this.network.activation === "sine";
    for (let j = 0; j < units; j++) {
      const z = centre.reduce((sum, x, d) => sum + x * kernel[d * units + j], bias[j]);
      this.floats[this.layers[0].bias + j] = sine ? phase((omega * z) / (2 * Math.PI)) : z;
    }
  }

  /** @param {Placed & { points: Pick<Points, "centre" | "offsets"> }} at @param {number} start @param {number} n
   * @param {number} count @param {Order} order @returns {number} where the output layer's rows are */
  #chunk({ offsets, slopes, bends, points }, start, n, count, order) {
    const { inputs, activation } = this.network;
    const streams = streamsOf(order, inputs);
    const stride = 4 * streams * POINTS;
    let [from, to] = this.areas;
    this.floats.fill(0, from, from + inputs * streams * POINTS);
    for (let d = 0; d < inputs; d++) {
      const row = from + d * streams * POINTS;
      const here = (/** @type {Float32Array} */ numbers) => numbers.subarray(d * count + start, d * count + start + n);
      this.floats.set(here(offsets), row);
      if (order !== "value" && slopes) this.floats.set(here(slopes), row + (1 + d) * POINTS);
      else if (order !== "value") this.floats.fill(1, row + (1 + d) * POINTS, row + (2 + d) * POINTS);
      if (order === "laplacian" && bends) this.floats.set(here(bends), row + (1 + inputs) * POINTS);
    }
    this.layers.forEach(({ weights, bias, inputs: rows, units }, i) => {
      this.run.dense(4 * weights, 4 * bias, 4 * from, 4 * to, rows, units, stride, 4 * POINTS);
      if (i < this.layers.length - 1) {
        this.run[activation](4 * to, units, 4 * POINTS, order === "value" ? 0 : inputs, Number(order === "laplacian"));
      }
      if (i === 0 && this.network.windows.length) this.#weigh(to, factors(this.network, points, start, n, order), n, order);
      [from, to] = [to, from];
    });
    return from;
  }

  /** Multiplies the first layer's units by their windows, in place: wh, (wh)_d = w·h_d + w_d·h and
   * Δ(wh) = w·Δh + 2 Σ_d w_d·h_d + Δw·h. @param {number} at where its rows are @param {Float32Array} windows as of `factors`
   * @param {number} n @param {Order} order */
  #weigh(at, windows, n, order) {
    const { inputs } = this.network;
    const streams = streamsOf(order, inputs);
    const firsts = order === "value" ? 0 : inputs;
    blockOf(this.network).forEach((block, j) => {
      const unit = this.floats.subarray(at + j * streams * POINTS, at + (j + 1) * streams * POINTS);
      const own = windows.subarray(block * streams * n, (block + 1) * streams * n);
      for (let i = 0; i < n; i++) {
        const [w, h] = [own[i], unit[i]];
        unit[i] = w * h;
        let more = 0;
        for (let d = 1; d <= firsts; d++) {
          more += 2 * own[d * n + i] * unit[d * POINTS + i];
          unit[d * POINTS + i] = w * unit[d * POINTS + i] + own[d * n + i] * h;
        }
        const last = 1 + inputs;
        if (order === "laplacian") unit[last * POINTS + i] = w * unit[last * POINTS + i] + more + own[last * n + i] * h;
      }
    });
  }
}

/** @param {number} turns */
const phase = (turns) => turns - Math.round(turns);

/** Applies the outermost function to results of the output layer, in place.
 * @param {Network} network @param {Float32Array} result @param {Order} order */
export function finish(network, result, order) {
  const { outermost, inputs, omegas } = network;
  if (outermost === "linear") return;
  const size = result.length / streamsOf(order, inputs); // of a stream
  const omega = omegas[omegas.length - 1];
  for (let i = 0; i < size; i++) {
    const y = result[i];
    const [g, slope, bend] = ending(outermost, omega, y);
    result[i] = g;
    if (order === "value") continue;
    let squares = 0;
    for (let d = 1; d <= inputs; d++) {
      squares += result[d * size + i] ** 2;
      result[d * size + i] *= slope;
    }
    if (order === "laplacian") {
      const at = (1 + inputs) * size + i;
      result[at] = slope * result[at] + bend * squares;
    }
  }
}

/** g(y), g'(y) and g''(y). @param {string} outermost @param {number} omega @param {number} y */
function ending(outermost, omega, y) {
  if (outermost === "sine") return [Math.sin(omega * y), omega * Math.cos(omega * y), -omega * omega * Math.sin(omega * y)];
  if (outermost === "tanh") {
    const t = Math.tanh(y);
    return [t, 1 - t * t, -2 * t * (1 - t * t)];
  }
  const s = 1 / (1 + Math.exp(-y));
  return [s, s * (1 - s), s * (1 - s) * (1 - 2 * s)];
}
