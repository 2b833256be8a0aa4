// @ts-check
/** A network evaluated by WebGPU, layer by layer, with the arrays and the sine of the kernels in WebAssembly. */
import { SINE } from "./kernels.js";
import { blockOf, factors, finish, placed, streamsOf } from "./network.js";

/** @typedef {import("./siren_file.js").Network} Network */

const TILE = 64; // units and columns of a workgroup, which computes 4 x 4 of them in each of 16 x 16 threads
const DEPTH = 16; // inputs that are shared at a time
const POINTS = 4096; // at most in a submission, which takes less than 50 ms

const polynomial = SINE.slice(0, -1).reduceRight((sum, q) => `(${sum} * y + ${q})`, String(SINE[SINE.length - 1]));
const SHADER = `
struct Sizes { inputs: u32, units: u32, columns: u32, points: u32, firsts: u32, second: u32, sine: u32 }
@group(0) @binding(0) var<uniform> sizes: Sizes;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read> a: array<f32>;
@group(0) @binding(4) var<storage, read_write> z: array<f32>;
var<workgroup> w_tile: array<array<f32, ${TILE}>, ${DEPTH}>;
var<workgroup> a_tile: array<array<f32, ${TILE}>, ${DEPTH}>;

@compute @workgroup_size(16, 16)
fn dense(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  var sums: array<array<f32, 4>, 4>;
  let first_unit = group.y * ${TILE};
  let first_column = group.x * ${TILE};
  for (var k0 = 0u; k0 < sizes.inputs; k0 += ${DEPTH}u) {
    let k = k0 + local.y;
    for (var i = local.x; i < ${TILE}u; i += 16u) {
      let unit = first_unit + i;
      let column = first_column + i;
      w_tile[local.y][i] = select(0.0, weights[min(k, sizes.inputs - 1) * sizes.units + min(unit, sizes.units - 1)], k < sizes.inputs && unit < sizes.units);
      a_tile[local.y][i] = select(0.0, a[min(k, sizes.inputs - 1) * sizes.columns + min(column, sizes.columns - 1)], k < sizes.inputs && column < sizes.columns);
    }
    workgroupBarrier();
    for (var i = 0u; i < ${DEPTH}u; i++) {
      for (var r = 0u; r < 4; r++) {
        for (var c = 0u; c < 4; c++) { sums[r][c] += w_tile[i][local.y * 4 + r] * a_tile[i][local.x * 4 + c]; }
      }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < 4; r++) {
    let unit = first_unit + local.y * 4 + r;
    for (var c = 0u; c < 4; c++) {
      let column = first_column + local.x * 4 + c;
      if (unit < sizes.units && column < sizes.columns) {
        z[unit * sizes.columns + column] = sums[r][c] + select(0.0, bias[unit], column < sizes.points);
      }
    }
  }
}

fn sine_of(turns: f32) -> f32 {
  let r = turns - round(turns);
  let y = r * r;
  return ${polynomial} * (r * (0.25 - y));
}

@compute @workgroup_size(64)
fn activate(@builtin(global_invocation_id) id: vec3u) {
  let unit = id.y;
  if (id.x >= sizes.points || unit >= sizes.units) { return; }
  let at = unit * sizes.columns + id.x;
  let x = z[at];
  let slope = select(select(0.0, 1.0, x > 0), 6.283185307179586 * sine_of(x + 0.25), sizes.sine == 1);
  let value = select(max(x, 0.0), sine_of(x), sizes.sine == 1);
  z[at] = value;
  var squares = 0.0;
  for (var s = 1u; s <= sizes.firsts; s++) {
    let d = z[at + s * sizes.points];
    squares += d * d;
    z[at + s * sizes.points] = slope * d;
  }
  if (sizes.second == 1) {
    let last = at + (sizes.firsts + 1) * sizes.points;
    z[last] = slope * z[last] - select(0.0, 39.47841760435743 * value * squares, sizes.sine == 1);
  }
}

// The units times their windows, as in 'WasmNetwork': 'a' has the windows of each block, 'bias' the block of each unit.
@compute @workgroup_size(64)
fn weigh(@builtin(global_invocation_id) id: vec3u) {
  let unit = id.y;
  if (id.x >= sizes.points || unit >= sizes.units) { return; }
  let at = unit * sizes.columns + id.x;
  let own = u32(bias[unit]) * sizes.columns + id.x;
  let h = z[at];
  z[at] = a[own] * h;
  var more = 0.0;
  for (var s = 1u; s <= sizes.firsts; s++) {
    let d = z[at + s * sizes.points];
    let slope = a[own + s * sizes.points];
    more += 2 * slope * d;
    z[at + s * sizes.points] = a[own] * d + slope * h;
  }
  if (sizes.second == 1) {
    let last = (sizes.firsts + 1) * sizes.points;
    z[at + last] = a[own] * z[at + last] + more + a[own + last] * h;
  }
}`;

export class GpuNetwork {
  /** @param {Network} network @returns {Promise<GpuNetwork | null>} null where there is no GPU that can be used */
  static async on(network) {
    try {
      const adapter = await navigator.gpu?.requestAdapter();
      return adapter ? new GpuNetwork(await adapter.requestDevice(), network) : null;
    } catch {
      return null;
    }
  }

  /** @param {GPUDevice} device @param {Network} network */
  constructor(device, network) {
    this.network = network;
    this.device = device;
    const module = device.createShaderModule({ code: SHADER });
    const layout = device.createBindGroupLayout({
      entries: /** @type {GPUBufferBindingType[]} */ (["uniform", ...Array(3).fill("read-only-storage"), "storage"]).map((type, binding) => ({
        binding, visibility: GPUShaderStage.COMPUTE, buffer: { type },
      })),
    });
    this.layout = layout;
    const pipeline = (/** @type {string} */ entryPoint) =>
      device.createComputePipeline({ layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }), compute: { module, entryPoint } });
    this.pipelines = { dense: pipeline("dense"), activate: pipeline("activate"), weigh: pipeline("weigh") };
    this.layers = network.layers.map(({ kernel, bias }) => ({ weights: this.#buffer(kernel.length), bias: this.#buffer(bias.length) }));
    this.blocks = network.windows.length ? this.#buffer(Float32Array.from(blockOf(network))) : null;
    this.#load(network);
    /** @type {Promise<unknown>} */
    this.turn = Promise.resolve();
  }

  /** Takes the weights of another network of the same sizes, after the points that were asked before.
   * @param {Network} network */
  change(network) {
    this.turn = this.turn.then(() => this.#load(network));
  }

  /** @param {Network} network */
  #load(network) {
    this.network = network;
    const last = network.layers.length - 1;
    const sine = network.activation === "sine";
    network.layers.forEach(({ kernel, bias }, i) => {
      const scale = sine && i < last ? network.omegas[i] / (2 * Math.PI) : 1;
      const phases = sine && i < last ? bias.map((b) => scale * b - Math.round(scale * b)) : bias;
      const write = (/** @type {GPUBuffer} */ buffer, /** @type {Float32Array} */ numbers) => this.device.queue.writeBuffer(buffer, 0, /** @type {Float32Array<ArrayBuffer>} */ (numbers));
      write(this.layers[i].weights, kernel.map((w) => scale * w));
      write(this.layers[i].bias, phases);
    });
  }

  /** See `WasmNetwork.evaluate`. @param {import("./network.js").Points} points @returns {Promise<Float32Array>} */
  evaluate({ order, ...points }) {
    const { inputs, channels } = this.network;
    const at = { ...placed(this.network, points), points };
    const count = at.offsets.length / inputs;
    const streams = streamsOf(order, inputs);
    const run = async () => {
      const result = new Float32Array(streams * channels * count);
      for (let start = 0; start < count; start += POINTS) {
        const n = Math.min(POINTS, count - start);
        const found = await this.#submit(at, start, n, count, order);
        for (let c = 0; c < channels; c++) {
          for (let s = 0; s < streams; s++) {
            const from = (c * streams + s) * n;
            result.set(found.subarray(from, from + n), (s * channels + c) * count + start);
          }
        }
      }
      finish(this.network, result, order);
      return result;
    };
    const done = this.turn.then(run);
    this.turn = done.catch(() => {});
    return done;
  }

  /** @param {import("./network.js").Placed & { points: Pick<import("./network.js").Points, "centre" | "offsets"> }} at
   * @param {number} start @param {number} n @param {number} count @param {import("./network.js").Order} order
   * @returns {Promise<Float32Array>} */
  async #submit({ centre, offsets, slopes, bends, points }, start, n, count, order) {
    const { device, network } = this;
    const { inputs, channels, width, activation } = network;
    const streams = streamsOf(order, inputs);
    const columns = streams * n;
    const input = new Float32Array(inputs * columns);
    for (let d = 0; d < inputs; d++) {
      const here = (/** @type {Float32Array} */ numbers) => numbers.subarray(d * count + start, d * count + start + n);
      input.set(here(offsets), d * columns);
      if (order !== "value" && slopes) input.set(here(slopes), d * columns + (1 + d) * n);
      else if (order !== "value") input.fill(1, d * columns + (1 + d) * n, d * columns + (2 + d) * n);
      if (order === "laplacian" && bends) input.set(here(bends), d * columns + (1 + inputs) * n);
    }
    const [one, other] = [0, 1].map(() => this.#buffer(Math.max(width, channels, inputs) * columns));
    device.queue.writeBuffer(one, 0, input);
    device.queue.writeBuffer(this.layers[0].bias, 0, this.#phasesAt(centre));
    const scratch = [one, other];
    const encoder = device.createCommandEncoder();
    network.layers.forEach(({ inputs: rows, units }, i) => {
      const sizes = [rows, units, columns, n, order === "value" ? 0 : inputs, Number(order === "laplacian"), Number(activation === "sine")];
      const uniform = this.#buffer(new Uint32Array([...sizes, 0]), GPUBufferUsage.UNIFORM);
      scratch.push(uniform);
      const [from, to] = i % 2 ? [other, one] : [one, other];
      const grouped = (/** @type {GPUBuffer} */ bias, /** @type {GPUBuffer} */ a) =>
        device.createBindGroup({ layout: this.layout, entries: [uniform, this.layers[i].weights, bias, a, to].map((buffer, binding) => ({ binding, resource: { buffer } })) });
      const pass = encoder.beginComputePass();
      pass.setBindGroup(0, grouped(this.layers[i].bias, from));
      pass.setPipeline(this.pipelines.dense);
      pass.dispatchWorkgroups(Math.ceil(columns / TILE), Math.ceil(units / TILE));
      if (i < network.layers.length - 1) {
        pass.setPipeline(this.pipelines.activate);
        pass.dispatchWorkgroups(Math.ceil(n / 64), units);
      }
      if (i === 0 && this.blocks) {
        const windows = this.#buffer(factors(network, points, start, n, order));
        scratch.push(windows);
        pass.setBindGroup(0, grouped(this.blocks, windows));
        pass.setPipeline(this.pipelines.weigh);
        pass.dispatchWorkgroups(Math.ceil(n / 64), units);
      }
      pass.end();
    });
    const bytes = 4 * channels * columns;
    const read = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    encoder.copyBufferToBuffer(network.layers.length % 2 ? other : one, 0, read, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    const found = new Float32Array(read.getMappedRange().slice(0));
    for (const buffer of [...scratch, read]) buffer.destroy();
    return found;
  }

  /** @param {number[]} centre @returns {Float32Array<ArrayBuffer>} as in `WasmNetwork` */
  #phasesAt(centre) {
    const { kernel, bias, units } = this.network.layers[0];
    const turns = this.network.omegas[0] / (2 * Math.PI);
    const sine = this.network.activation === "sine";
    return Float32Array.from(bias, (b, j) => {
      const z = centre.reduce((sum, x, d) => sum + x * kernel[d * units + j], b);
      return sine ? turns * z - Math.round(turns * z) : z;
    });
  }

  /** @param {Float32Array | Uint32Array | number} content or a number of floats @param {number} usage */
  #buffer(content, usage = GPUBufferUsage.STORAGE) {
    const size = 4 * (typeof content === "number" ? content : content.length);
    const buffer = this.device.createBuffer({ size, usage: usage | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
    if (typeof content !== "number") this.device.queue.writeBuffer(buffer, 0, /** @type {Float32Array<ArrayBuffer>} */ (content));
    return buffer;
  }
}
