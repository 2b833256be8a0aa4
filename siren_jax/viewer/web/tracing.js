// @ts-check
/** Surfaces seen by rays through a grid of signed distances over the cube [-1, 1]³ (sphere tracing, Hart 1996). */

/** @typedef {{ n: number, values: Float32Array, steepest: number }} Grid  values[(x * n + y) * n + z], corners at ±1 */
/** @typedef {{ azimuth: number, elevation: number, distance: number }} Camera  degrees; z is up; distance from the origin */
/** @typedef {{ grid?: Grid, camera: Camera, width: number, height: number, plane: { axis: number, at: number } | null, rows: [number, number] }} Rays  rows from and to which are traced */

const STEPS = 500;
const FOCUS = 2.2; // half heights of the picture from the eye
/** What a ray has found, four numbers: its length, 0 where there is nothing, and a normal; on the plane, NaN, the distance there, 0. */
export const FOUND = 4;

/** @type {Grid} */
let grid;

/** The rays of a camera: their origin, and the direction of pixel (i, j). @param {Camera} camera @param {number} width @param {number} height */
export function raysOf({ azimuth, elevation, distance }, width, height) {
  const [a, e] = [(azimuth * Math.PI) / 180, (elevation * Math.PI) / 180];
  const back = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
  const right = [-Math.sin(a), Math.cos(a), 0];
  const up = [-Math.sin(e) * Math.cos(a), -Math.sin(e) * Math.sin(a), Math.cos(e)];
  const side = Math.min(width, height);
  return {
    eye: back.map((x) => x * distance), back, right, up,
    direction(/** @type {number} */ i, /** @type {number} */ j) {
      const [x, y] = [(2 * j + 1 - width) / side, (height - 2 * i - 1) / side];
      const raw = back.map((b, d) => right[d] * x + up[d] * y - FOCUS * b);
      const length = Math.hypot(...raw);
      return raw.map((r) => r / length);
    },
  };
}

/** Distance at a point in the cube, from the eight around it. @param {Grid} grid @param {number} x @param {number} y @param {number} z */
function distanceAt({ n, values }, x, y, z) {
  const cell = (/** @type {number} */ at) => Math.min(n - 1.000001, Math.max(0, ((at + 1) / 2) * (n - 1)));
  const [u, v, w] = [cell(x), cell(y), cell(z)];
  const [i, j, k] = [Math.floor(u), Math.floor(v), Math.floor(w)];
  const [a, b, c] = [u - i, v - j, w - k];
  const at = (i * n + j) * n + k;
  const along = (/** @type {number} */ from) => values[from] + c * (values[from + 1] - values[from]);
  const across = (/** @type {number} */ from) => along(from) + b * (along(from + n) - along(from));
  return across(at) + a * (across(at + n * n) - across(at));
}

/** @param {Rays} rays @returns {Float32Array} FOUND numbers for each pixel of the rows */
export function trace(rays) {
  grid = rays.grid ?? grid;
  const { camera, width, height, plane, rows: [first, last] } = rays;
  const found = new Float32Array(FOUND * width * (last - first));
  const { eye, direction } = raysOf(camera, width, height);
  const least = 0.2 / grid.n;
  for (let i = first; i < last; i++) {
    for (let j = 0; j < width; j++) {
      const ray = direction(i, j);
      let [near, far] = [0, Infinity];
      for (let d = 0; d < 3; d++) {
        const [a, b] = [(-1 - eye[d]) / ray[d], (1 - eye[d]) / ray[d]];
        near = Math.max(near, Math.min(a, b));
        far = Math.min(far, Math.max(a, b));
      }
      if (!(near < far)) continue;
      const place = (/** @type {number} */ t) => /** @type {[number, number, number]} */ (eye.map((x, d) => x + t * ray[d]));
      const cut = plane ? (plane.at - eye[plane.axis]) / ray[plane.axis] : -1;
      const end = cut >= near && cut <= far ? cut : far;
      const at = FOUND * ((i - first) * width + j);
      const hit = surface(place, near, end, least);
      if (hit) {
        const h = 1 / grid.n;
        const [x, y, z] = place(hit);
        const normal = [
          distanceAt(grid, x + h, y, z) - distanceAt(grid, x - h, y, z),
          distanceAt(grid, x, y + h, z) - distanceAt(grid, x, y - h, z),
          distanceAt(grid, x, y, z + h) - distanceAt(grid, x, y, z - h),
        ];
        const length = Math.hypot(...normal) || 1;
        found.set([hit, ...normal.map((c) => c / length)], at);
      } else if (end === cut) found.set([cut, NaN, distanceAt(grid, ...place(cut)), 0], at);
    }
  }
  return found;
}

/** Length of the ray at which it enters the surface; 0 if it does not.
 * @param {(t: number) => [number, number, number]} place @param {number} near @param {number} far @param {number} least */
function surface(place, near, far, least) {
  let [t, before, last] = [near, near, distanceAt(grid, ...place(near))];
  if (last < 0) return near;
  for (let step = 0; step < STEPS && t < far; step++) {
    before = t;
    t += Math.max(least, last / grid.steepest);
    const now = distanceAt(grid, ...place(Math.min(t, far)));
    if (now < 0) return before + ((Math.min(t, far) - before) * last) / (last - now);
    last = now;
  }
  return 0;
}

/** The largest slope of a grid along an axis, by which steps are shortened: a network's distance is not exact.
 * @param {Float32Array} values @param {number} n */
export function steepest(values, n) {
  let most = 1;
  for (const step of [1, n, n * n]) {
    for (let i = step; i < values.length; i++) {
      if (Math.floor(i / step) % n) most = Math.max(most, (Math.abs(values[i] - values[i - step]) * (n - 1)) / 2);
    }
  }
  return Math.min(4, most);
}
