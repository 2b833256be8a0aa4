// @ts-check
/** What runs in a worker: networks evaluated by WebAssembly, and surfaces traced, so that the page never waits. */
import { WasmNetwork, gridOffsets } from "./network.js";
import { trace } from "./tracing.js";

/** @typedef {import("./network.js").Order} Order */
/** @typedef {{ centre: number[], order: Order } & ({ shape: number[], steps: number[][] } | { offsets: Float32Array })} Request */

/** @param {Request} request @returns {import("./network.js").Points} */
export const pointsOf = (request) =>
  "offsets" in request ? request : { centre: request.centre, order: request.order, offsets: gridOffsets(request.shape, request.steps) };

/** Answers messages: one with a network changes the network, whose sizes stay, one with a number is answered. */
export function work() {
  /** @type {WasmNetwork} */
  let evaluator;
  addEventListener("message", ({ data: { number, module, network, request, rays } }) => {
    try {
      if (module) evaluator = new WasmNetwork(module, network);
      else if (network) evaluator.load(network);
      if (number === undefined) return;
      const result = request ? evaluator.evaluate(pointsOf(request)) : trace(rays);
      postMessage({ number, result }, { transfer: [result.buffer] });
    } catch (error) {
      if (number === undefined) throw error;
      postMessage({ number, error: String(error) });
    }
  });
}
