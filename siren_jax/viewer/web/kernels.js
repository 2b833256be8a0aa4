// @ts-check
/** The arithmetic of a layer in WebAssembly, four points at a time.
 *
 * Arrays are unit-major: row k has the numbers of unit k, first the values at all points, then each stream's. Angles are
 * in turns, because z - round(z) is then exact.
 */
import {
  I32, V128, add, and, assemble, f32x4, greater, i32, ifElse, less, load, loadSplat, loop, maximum, minus, multiply,
  multiplyAdd, nearest, plus, store, times,
} from "./assembler.js";

export const ROWS = 4; // units that are computed together
export const COLUMNS = 12; // points that are computed together
// sin(2πr) = r (1/4 - r²) q(r²) for |r| ≤ 1/2: minimax to 1.3e-9 before rounding; lowest power first.
export const SINE = [25.132741928100586, -64.83582305908203, 67.0767593383789, -38.498416900634766, 14.06550407409668, -3.1933717727661133];

const blocks = Array.from({ length: COLUMNS / 4 }, (_, v) => v);
const rows = Array.from({ length: ROWS }, (_, r) => r);

/** @param {boolean} fused whether the relaxed multiply-add is there */
function dense(fused) {
  const sums = rows.flatMap((r) => blocks.map((v) => `s${r}${v}`));
  return {
    name: "dense",
    // z = weights·a + bias, with the bias for the first `biased` bytes of a row alone. Weights are packed: of ROWS units
    // those of input 0, then those of input 1, ... Rows have `stride` bytes.
    parameters: ["weights", "bias", "a", "z", "inputs", "units", "stride", "biased"],
    locals: /** @type {[number, string[]][]} */ ([
      [I32, ["column", "unit", "w", "from", "end", "to", "b"]],
      [V128, [...sums, "weight", ...blocks.map((v) => `a${v}`)]],
    ]),
    body: (/** @type {import("./assembler.js").Locals} */ local) => {
      const { get, set } = local;
      const block = [
        set("b", add(get("bias"), multiply(get("unit"), i32(4)))),
        ifElse(
          less(get("column"), get("biased")),
          rows.flatMap((r) => blocks.map((v) => set(`s${r}${v}`, loadSplat(get("b"), 4 * r)))),
          sums.map((sum) => set(sum, f32x4(0))),
        ),
        set("from", add(get("a"), get("column"))),
        set("end", add(get("from"), multiply(get("inputs"), get("stride")))),
        loop(local, "from", get("stride"), get("end"), [
          ...blocks.map((v) => set(`a${v}`, load(get("from"), 16 * v))),
          ...rows.flatMap((r) => [
            set("weight", loadSplat(get("w"), 4 * r)),
            ...blocks.map((v) => set(`s${r}${v}`, multiplyAdd(get("weight"), get(`a${v}`), get(`s${r}${v}`), fused))),
          ]),
          set("w", add(get("w"), i32(4 * ROWS))),
        ]),
        ...rows.flatMap((r) => [
          ...blocks.map((v) => store(add(get("to"), i32(16 * v)), get(`s${r}${v}`))),
          set("to", add(get("to"), get("stride"))),
        ]),
      ];
      return [
        loop(local, "column", 4 * COLUMNS, get("stride"), [
          set("w", get("weights")),
          set("to", add(get("z"), get("column"))),
          set("unit", i32(0)),
          loop(local, "unit", ROWS, get("units"), block),
        ]),
      ];
    },
  };
}

/** h = sin(2πz) and its streams, in place: first derivatives h' = 2π cos(2πz) z', then, if `second`, the Laplacian
 * h'' = 2π cos(2πz) z'' - 4π² sin(2πz) Σ z'². @param {boolean} fused */
function sine(fused) {
  return {
    name: "sine",
    parameters: ["z", "units", "points", "firsts", "second"], // points: bytes of a stream in a row
    locals: /** @type {[number, string[]][]} */ ([[I32, ["at", "end", "stop", "here", "last"]], [V128, ["x", "r", "y", "p", "s", "c", "squares", "d"]]]),
    body: (/** @type {import("./assembler.js").Locals} */ local) => {
      const { get, set } = local;
      const sineOf = (/** @type {string} */ to, /** @type {import("./assembler.js").Code} */ turns) => [
        set("r", turns),
        set("r", minus(get("r"), nearest(get("r")))),
        set("y", times(get("r"), get("r"))),
        set("p", f32x4(SINE[SINE.length - 1])),
        ...SINE.slice(0, -1).reverse().map((q) => set("p", multiplyAdd(get("p"), get("y"), f32x4(q), fused))),
        set(to, times(get("p"), times(get("r"), minus(f32x4(0.25), get("y"))))),
      ];
      const streams = add(add(get("firsts"), get("second")), i32(1));
      return [
        set("at", get("z")),
        set("end", add(get("z"), multiply(multiply(get("units"), get("points")), streams))),
        loop(local, "at", multiply(get("points"), add(get("firsts"), get("second"))), get("end"), [
          set("stop", add(get("at"), get("points"))),
          loop(local, "at", 16, get("stop"), [
            set("x", load(get("at"))),
            ...sineOf("s", get("x")),
            store(get("at"), get("s")),
            ifElse(less(i32(0), get("firsts")), [
              ...sineOf("c", plus(get("x"), f32x4(0.25))),
              set("c", times(get("c"), f32x4(2 * Math.PI))),
              set("squares", f32x4(0)),
              set("here", add(get("at"), get("points"))),
              set("last", add(get("at"), add(multiply(get("points"), get("firsts")), i32(1)))),
              loop(local, "here", get("points"), get("last"), [
                set("d", load(get("here"))),
                set("squares", multiplyAdd(get("d"), get("d"), get("squares"), fused)),
                store(get("here"), times(get("c"), get("d"))),
              ]),
              ifElse(get("second"), [
                store(get("here"), minus(times(get("c"), load(get("here"))), times(f32x4(4 * Math.PI ** 2), times(get("s"), get("squares"))))),
              ]),
            ]),
          ]),
        ]),
      ];
    },
  };
}

/** h = max(z, 0) and its streams, which are those of z where z > 0, in place. */
function relu() {
  return {
    name: "relu",
    parameters: ["z", "units", "points", "firsts", "second"],
    locals: /** @type {[number, string[]][]} */ ([[I32, ["at", "end", "stop", "here", "last"]], [V128, ["x", "mask"]]]),
    body: (/** @type {import("./assembler.js").Locals} */ local) => {
      const { get, set } = local;
      const others = add(get("firsts"), get("second"));
      return [
        set("at", get("z")),
        set("end", add(get("z"), multiply(multiply(get("units"), get("points")), add(others, i32(1))))),
        loop(local, "at", multiply(get("points"), others), get("end"), [
          set("stop", add(get("at"), get("points"))),
          loop(local, "at", 16, get("stop"), [
            set("x", load(get("at"))),
            set("mask", greater(get("x"), f32x4(0))),
            store(get("at"), maximum(get("x"), f32x4(0))),
            ifElse(others, [
              set("here", add(get("at"), get("points"))),
              set("last", add(get("at"), add(multiply(get("points"), others), i32(1)))),
              loop(local, "here", get("points"), get("last"), [store(get("here"), and(get("mask"), load(get("here"))))]),
            ]),
          ]),
        ]),
      ];
    },
  };
}

/** Whether these bytes are a module here. @param {Uint8Array<ArrayBuffer>} bytes */
const valid = (bytes) => typeof WebAssembly === "object" && WebAssembly.validate(bytes);

/** The module with the fused multiply-add if there is one; null without SIMD.
 * @returns {Uint8Array<ArrayBuffer> | null} */
export function kernels() {
  for (const fused of [true, false]) {
    const bytes = assemble([dense(fused), sine(fused), relu()]);
    if (valid(bytes)) return bytes;
  }
  return null;
}
