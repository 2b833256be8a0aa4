// @ts-check
/** A small assembler of WebAssembly. An expression is an array of bytes, which may be nested. */

/** @typedef {(number | Code)[]} Code */
/** @typedef {{ name: string, parameters: string[], locals: [type: number, names: string[]][], body: (local: Locals) => Code }} Definition */
/** @typedef {{ get: (name: string) => Code, set: (name: string, value: Code) => Code }} Locals */

export const I32 = 0x7f;
export const V128 = 0x7b;
const VOID = 0x40;

/** @param {number} n an integer @returns {Code} in LEB128, signed */
function signed(n) {
  const bytes = [];
  for (;;) {
    const byte = n & 0x7f;
    n >>= 7;
    if ((n === 0 && !(byte & 0x40)) || (n === -1 && byte & 0x40)) return [...bytes, byte];
    bytes.push(byte | 0x80);
  }
}

/** @param {number} n an integer from 0 on @returns {number[]} in LEB128, unsigned */
function unsigned(n) {
  const bytes = [];
  for (; n > 0x7f; n >>>= 7) bytes.push((n & 0x7f) | 0x80);
  return [...bytes, n];
}

/** @param {Code} code @returns {number[]} */
const flat = (code) => /** @type {any[]} */ (code).flat(Infinity);
/** @param {Code} content @returns {Code} with its length before it */
function sized(content) {
  const bytes = flat(content);
  return [unsigned(bytes.length), bytes];
}
/** @param {string} text @returns {Code} */
const name = (text) => sized([...text].map((letter) => letter.charCodeAt(0)));
/** @param {Code[]} items @returns {Code} */
const vector = (items) => [unsigned(items.length), ...items];
/** @param {number} opcode @returns {Code} */
const simd = (opcode) => [0xfd, unsigned(opcode)];

/** @param {number} n @returns {Code} */
export const i32 = (n) => [0x41, signed(n)];
/** @param {number} x in all four lanes @returns {Code} */
export function f32x4(x) {
  const lane = [...new Uint8Array(new Float32Array([x]).buffer)];
  return [simd(12), lane, lane, lane, lane];
}
/** @param {Code} a @param {Code} b @returns {Code} */
export const add = (a, b) => [a, b, 0x6a];
/** @param {Code} a @param {Code} b @returns {Code} */
export const multiply = (a, b) => [a, b, 0x6c];
/** @param {Code} address @param {number} offset in bytes @returns {Code} four numbers */
export const load = (address, offset = 0) => [address, simd(0), 2, unsigned(offset)];
/** @param {Code} address @param {number} offset in bytes @returns {Code} one number in all lanes */
export const loadSplat = (address, offset = 0) => [address, simd(9), 2, unsigned(offset)];
/** @param {Code} address @param {Code} value @returns {Code} */
export const store = (address, value) => [address, value, simd(11), 2, 0];
/** @param {number} opcode @returns {(a: Code, b: Code) => Code} */
const lanewise = (opcode) => (a, b) => [a, b, simd(opcode)];
export const plus = lanewise(228);
export const minus = lanewise(229);
export const times = lanewise(230);
export const maximum = lanewise(233);
export const greater = lanewise(68);
export const and = lanewise(78);
/** @param {Code} a @returns {Code} rounded to the nearest integers */
export const nearest = (a) => [a, simd(106)];
/** @param {Code} a @param {Code} b @param {Code} c @param {boolean} fused @returns {Code} a·b + c */
export const multiplyAdd = (a, b, c, fused) => (fused ? [a, b, c, simd(0x105)] : plus(c, times(a, b)));

/** Runs `body` as long as the local `index`, increased by `step` each time, is below `end`; at least once.
 * @param {Locals} local @param {string} index @param {number | Code} step @param {Code} end @param {Code[]} body @returns {Code} */
export function loop({ get, set }, index, step, end, body) {
  const next = set(index, add(get(index), typeof step === "number" ? i32(step) : step));
  return [0x03, VOID, ...body, next, get(index), end, 0x48, 0x0d, 0, 0x0b];
}

/** @param {Code} condition @param {Code[]} then @param {Code[]} otherwise @returns {Code} */
export const ifElse = (condition, then, otherwise = []) => [condition, 0x04, VOID, ...then, 0x05, ...otherwise, 0x0b];
/** @param {Code} a @param {Code} b @returns {Code} whether a < b, signed */
export const less = (a, b) => [a, b, 0x48];

/** The bytes of a module whose functions take integers and return nothing, over the memory `env.memory`.
 * @param {Definition[]} functions @returns {Uint8Array<ArrayBuffer>} */
export function assemble(functions) {
  const types = functions.map(({ parameters }) => [0x60, vector(parameters.map(() => [I32])), 0]);
  const bodies = functions.map(({ parameters, locals, body }) => {
    const names = [...parameters, ...locals.flatMap(([, names]) => names)];
    const index = (/** @type {string} */ name) => {
      if (!names.includes(name)) throw new Error(`no local ${name}`);
      return unsigned(names.indexOf(name));
    };
    const local = {
      get: (/** @type {string} */ name) => [0x20, index(name)],
      set: (/** @type {string} */ name, /** @type {Code} */ value) => [value, 0x21, index(name)],
    };
    return sized([vector(locals.map(([type, names]) => [unsigned(names.length), type])), body(local), 0x0b]);
  });
  const section = (/** @type {number} */ id, /** @type {Code} */ content) => [id, sized(content)];
  return new Uint8Array(
    flat([
      [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      section(1, vector(types)),
      section(2, vector([[name("env"), name("memory"), 2, 0, 0]])),
      section(3, vector(functions.map((_, i) => [unsigned(i)]))),
      section(7, vector(functions.map((each, i) => [name(each.name), 0, unsigned(i)]))),
      section(10, vector(bodies)),
    ]),
  );
}
