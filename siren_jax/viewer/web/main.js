// @ts-check
/** The page: reads the signals, chooses an evaluator and shows one signal at a time. */
import { GpuNetwork } from "./gpu.js";
import { kernels } from "./kernels.js";
import { follow } from "./live.js";
import { bytesOf, element, inflated, select } from "./page.js";
import { showPicture } from "./picture.js";
import { Hand, Queue } from "./pool.js";
import { showShape } from "./shape.js";
import { FileError, read } from "./siren_file.js";
import { showLine } from "./line.js";
import { pointsOf } from "./worker.js";

/** @typedef {import("./worker.js").Request} Request */
/** @typedef {{ name: string, file: string, poster: string | null, original: string | null, frames: { image: string, count: number } | null, live: boolean }} Entry  texts are base64 or data addresses */
/** @typedef {{ sequential: Uint8Array, diverging: Uint8Array, cyclic: Uint8Array }} Palettes */
/** @typedef {(request: Request, urgency?: () => number) => Promise<Float32Array | null>} Evaluate */
/** @typedef {{ signal: import("./siren_file.js").Signal, name: string, evaluate: Evaluate, hand: () => Hand, stage: HTMLElement, panel: HTMLElement, poster: HTMLImageElement | null, original: ImageData | null, frames: { image: HTMLImageElement, count: number } | null, palettes: Palettes }} Shown */
/** @typedef {{ close: () => void, renew: (passing: boolean) => void }} View  `renew`: the function is another one, and is passing if it will soon be another one again */

const TRIED = 4096; // points on which evaluators are compared

/** @param {string} id */
const found = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @param {string} id @returns {any} */
const embedded = (id) => JSON.parse(found(id).textContent ?? "");

/** @type {() => void} */
let end = () => {};
let shows = 0; // how many signals have been chosen

export function start() {
  const entries = /** @type {Entry[]} */ (embedded("signals"));
  if (entries.length > 1) {
    const options = entries.map(({ name }, i) => /** @type {[string, string]} */ ([String(i), name]));
    found("chooser").append(select("Signal", options, (i) => show(entries[Number(i)])));
  }
  show(entries[0]);
}

/** @param {Entry} entry */
async function show(entry) {
  end();
  end = () => {};
  const mine = ++shows;
  const [stage, panel] = [found("stage"), found("panel")];
  stage.replaceChildren();
  panel.replaceChildren();
  found("name").textContent = document.title = entry.name;
  const poster = entry.poster ? element("img", { src: entry.poster, alt: `${entry.name}, as it was when this page was made`, class: "poster" }) : null;
  if (poster) stage.append(poster);
  try {
    await present(entry, poster, stage, panel, () => mine === shows);
  } catch (error) {
    if (mine !== shows) return;
    if (!(error instanceof FileError)) console.error(error);
    const message = error instanceof FileError ? error.message : `This page failed: ${error}`;
    panel.replaceChildren(element("p", { class: "failure", role: "alert" }, message));
  }
}

/** @param {Entry} entry @param {HTMLImageElement | null} poster @param {HTMLElement} stage @param {HTMLElement} panel
 * @param {() => boolean} wanted whether no other signal has been chosen */
async function present(entry, poster, stage, panel, wanted) {
  const signal = read(await inflated(bytesOf(entry.file)));
  const bytes = typeof Worker === "function" ? kernels() : null;
  if (!bytes) throw new FileError("This browser has no WebAssembly with SIMD, or no workers, which the function needs; the picture is that of the page's maker.");
  const module = await WebAssembly.compile(bytes);
  await poster?.decode().catch(() => poster.remove());
  const original = entry.original ? await pixelsOf(entry.original) : null;
  const frames = entry.frames ? { image: await loaded(entry.frames.image), count: entry.frames.count } : null;
  if (!wanted()) return;
  const url = found("program").dataset.url ?? ""; // as start.js made it
  const hands = Array.from({ length: Math.min(8, Math.max(1, navigator.hardwareConcurrency || 2)) }, () => new Hand(url, module, signal.network));
  let queue = new Queue(hands);
  let { network } = signal; // as it is now
  /** @type {{ evaluate: (request: Request) => Promise<Float32Array>, change: (network: import("./siren_file.js").Network) => void, end: () => void } | null} */
  let gpu = null;
  let [points, began, first, open] = [0, 0, true, 0];
  const status = found("status");
  /** @type {Evaluate} */
  const evaluate = async (request, urgency) => {
    const asked = performance.now();
    open++;
    status.classList.add("busy");
    const urgent = () => (ended ? Infinity : (urgency?.() ?? 0));
    const result = await queue.evaluate(request, urgent).catch(failed).finally(() => status.classList.toggle("busy", --open > 0));
    if (ended) return null;
    if (result) tell(result.length, asked);
    return result;
  };
  let where = `WebAssembly on ${hands.length} ${hands.length > 1 ? "workers" : "worker"}`;
  const tell = (/** @type {number} */ count, /** @type {number} */ asked) => {
    const now = performance.now();
    if (now - began > 1000) [points, began] = [0, asked];
    points += count;
    if (first) performance.mark("first-values");
    first = false;
    status.textContent = `${signal.network.depth + 1} layers of ${signal.network.width} units; ${where}`;
    status.title = `${Math.round(points / Math.max(1, now - began))} numbers per ms`;
  };
  let ended = false;
  /** @type {View | null} */
  let view = null;
  end = () => {
    ended = true;
    for (const { worker } of hands) worker.terminate();
    gpu?.end();
    view?.close();
  };
  /** Says that an evaluator has failed; WebGPU gives way to the workers. @param {Error} error @returns {null} */
  const failed = (error) => {
    if (ended) return null;
    if (gpu) {
      [gpu, queue, where] = [null, new Queue(hands), `WebAssembly, because WebGPU failed`];
      view?.renew(entry.live);
    } else status.textContent = `The function cannot be evaluated: ${error.message}`;
    return null;
  };
  const palettes = /** @type {Palettes} */ (Object.fromEntries(Object.entries(embedded("palettes")).map(([name, text]) => [name, bytesOf(String(text))])));
  const shown = {
    signal, name: entry.name, evaluate, stage, panel, palettes, poster,
    hand: () => {
      const hand = new Hand(url, module, network);
      hands.push(hand);
      return hand;
    },
    original, frames,
  };
  view = signal.network.inputs === 1 ? showLine(shown) : signal.kind === "shape" ? showShape(shown) : showPicture(shown);
  if (signal.kind !== "shape") poster?.remove(); // a shape keeps it until there is a grid
  if (entry.live) {
    const following = view;
    following.renew(true);
    follow(panel, {
      busy: () => open > 0,
      ended: () => ended,
      change(file) {
        ({ network } = read(file));
        for (const hand of hands) hand.change(network);
        gpu?.change(network);
        following.renew(true);
      },
      rest: () => following.renew(false),
    });
  }
  gpu = await faster(network, hands);
  if (!gpu) return;
  if (ended) return gpu.end();
  gpu.change(network);
  queue = new Queue([gpu]);
  where = "WebGPU";
}

/** WebGPU, if it is faster than the workers together. @param {import("./siren_file.js").Network} network @param {Hand[]} hands */
async function faster(network, hands) {
  const gpu = await GpuNetwork.on(network);
  if (!gpu) return null;
  const request = /** @type {Request} */ ({ centre: Array(network.inputs).fill(0), offsets: new Float32Array(network.inputs * TRIED), order: "value" });
  const seconds = async (/** @type {() => Promise<any>} */ run) => {
    await run();
    const began = performance.now();
    await run();
    return performance.now() - began;
  };
  try {
    const byGpu = await seconds(() => gpu.evaluate(pointsOf(request)));
    const byHands = await seconds(() => hands[0].evaluate(request));
    return byGpu < byHands / hands.length ? { evaluate: (/** @type {Request} */ request) => gpu.evaluate(pointsOf(request)), change: (/** @type {import("./siren_file.js").Network} */ other) => gpu.change(other), end: () => gpu.device.destroy() } : null;
  } catch {
    return null;
  }
}

/** @param {string} address @returns {Promise<HTMLImageElement>} */
async function loaded(address) {
  const image = element("img", { src: address });
  await image.decode();
  return image;
}

/** @param {string} address @returns {Promise<ImageData>} */
async function pixelsOf(address) {
  const image = await loaded(address);
  const canvas = element("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}
