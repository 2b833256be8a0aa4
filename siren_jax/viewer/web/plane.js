// @ts-check
/** A plane through a function, in tiles that are evaluated coarse to fine: pan, zoom, pinch and keys.
 *
 * Places on the plane are (u, v), rows and columns of a sheet of `size`; a tile of level L has points at a distance of 2^-L,
 * `side` of them along each axis. Coordinates of the network follow from `coordinates`, in float64.
 */
import { listen } from "./gestures.js";

/** @typedef {import("./worker.js").Request} Request */
/** @typedef {import("./network.js").Order} Order */
/** @typedef {{ row: number, column: number, orders: Map<Order, Float32Array>, used: number }} Tile */
/** @typedef {{ look: string, order: Order, paint: (tile: Float32Array, side: number) => ImageData }} Look  how a tile is seen, and under which name */

const KEPT = 2500; // tiles
const PAGE = 512; // pixels along each side of the images that are drawn, which have many tiles
const PAGES = 60; // that are kept
const FRAME = 8; // ms for making pages and painting tiles
const COARSEST = 12; // levels below that of the view from which it is filled
const COARSE = [4, 2]; // levels below that of the view which are evaluated first
const PASSING = 400; // ms in which a passing function is evaluated, by leaving out fine levels
const DEEPEST = 36; // levels; coordinates have float64

/** @typedef {{ image: HTMLCanvasElement, look: string, moment: string, levels: number[], row: number, column: number, todo: Tile[] }} Page  an image of many tiles; those to do are not painted yet */

export class Plane {
  /** @type {Map<string, Tile>} */
  #tiles = new Map();
  /** @type {Set<string>} tiles and orders that are being evaluated */
  #pending = new Set();
  /** @type {Map<string, number>} urgency of each tile of the view */
  #wanted = new Map();
  #clock = 0;
  #scheduled = false;
  /** @type {Map<string, Page>} those made last come last */
  #pages = new Map();
  /** @type {Page[]} of which the last whole view was made */
  #seen = [];
  #until = 0; // the time at which a frame ends
  #scratch = document.createElement("canvas");
  /** @type {Look | null} */
  #look = null;

  /** @param {HTMLCanvasElement} canvas @param {[number, number]} size rows and columns of the sheet at zoom 1
   * @param {number} side points along each side of a tile @param {(u: number, v: number) => number[]} coordinates @param {(request: Request, urgency: () => number) => Promise<Float32Array | null>} evaluate */
  constructor(canvas, size, side, coordinates, evaluate) {
    this.canvas = canvas;
    this.side = side;
    this.size = size;
    this.coordinates = coordinates;
    this.evaluate = evaluate;
    /** Centre of the view on the sheet, and pixels of the canvas per unit of the sheet. */
    this.camera = { u: size[0] / 2, v: size[1] / 2, zoom: [1, 1] };
    this.cursor = { u: size[0] / 2, v: size[1] / 2 };
    /** @type {CanvasImageSource | null} seen until tiles are there */
    this.poster = null;
    /** Drawn over the tiles. @type {(context: CanvasRenderingContext2D) => void} */
    this.overlay = () => {};
    /** @type {() => void} */
    this.onview = () => {};
    listen(canvas, this.moves);
    new ResizeObserver(() => this.#resize()).observe(canvas);
    this.fitted = true;
  }

  /** @param {Look} look */
  show(look) {
    this.#look = look;
    this.draw();
  }

  /** Says that the plane is another one, for instance at another time; until its tiles are there, the old ones are seen.
   * @param {string} moment a name under which its tiles are kept */
  move(moment) {
    this.#turn(`${this.#version}/${moment}`);
  }

  /** Says that the function is another one; until its tiles are there, the old ones are seen.
   * @param {boolean} passing whether it will soon be another one again: then it is seen as finely as its time allows */
  renew(passing) {
    this.#passing = passing;
    this.#began = performance.now();
    this.#turn(`${++this.#version}/${this.#moment.split("/")[1]}`);
    for (const kept of [this.#tiles, this.#pages]) {
      for (const key of kept.keys()) if (!key.startsWith(`${this.#before}/`)) kept.delete(key);
    }
  }

  /** @param {string} moment */
  #turn(moment) {
    if (this.#complete) this.#before = this.#moment;
    this.#complete = false;
    this.#moment = moment;
    this.draw();
  }

  #version = 0;
  #moment = "0/";
  #before = "";
  #complete = false;
  #passing = false;
  #began = 0;
  #left = COARSE[0]; // levels that a passing function lacks

  /** Shows the whole sheet. @param {boolean} stretch whether each axis has its own zoom */
  fit(stretch = this.stretched) {
    this.stretched = stretch;
    const { width, height } = this.canvas;
    const zoom = [height / this.size[0], width / this.size[1]];
    const least = Math.min(...zoom);
    this.camera = { u: this.size[0] / 2, v: this.size[1] / 2, zoom: stretch ? zoom : [least, least] };
    this.fitted = true;
    this.draw();
  }

  stretched = false;

  /** @param {number} factor @param {{ u: number, v: number }} about the place that stays where it is */
  zoom(factor, about = this.camera) {
    const { camera } = this;
    const deepest = 2 ** (DEEPEST - 1);
    const least = 0.25 * Math.min(this.canvas.height / this.size[0], this.canvas.width / this.size[1]);
    const limited = Math.min(deepest / Math.max(...camera.zoom), Math.max(least / Math.min(...camera.zoom), factor));
    camera.u = about.u + (camera.u - about.u) / limited;
    camera.v = about.v + (camera.v - about.v) / limited;
    camera.zoom = camera.zoom.map((zoom) => zoom * limited);
    this.fitted = false;
    this.#contain();
    this.draw();
  }

  /** @param {number} rows @param {number} columns of the canvas */
  pan(rows, columns) {
    this.camera.u -= rows / this.camera.zoom[0];
    this.camera.v -= columns / this.camera.zoom[1];
    this.fitted = false;
    this.#contain();
    this.draw();
  }

  /** Place on the sheet of a pixel of the canvas. @param {number} y @param {number} x */
  place(y, x) {
    const { u, v, zoom } = this.camera;
    return { u: u + (y - this.canvas.height / 2) / zoom[0], v: v + (x - this.canvas.width / 2) / zoom[1] };
  }

  /** Pixel of the canvas of a place on the sheet. @param {number} u @param {number} v */
  pixel(u, v) {
    const { camera, canvas } = this;
    return { y: canvas.height / 2 + (u - camera.u) * camera.zoom[0], x: canvas.width / 2 + (v - camera.v) * camera.zoom[1] };
  }

  /** Level of each axis at which tiles have about the pixels of the canvas. */
  get levels() {
    return this.camera.zoom.map((zoom) => Math.round(Math.log2(zoom)));
  }

  draw() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      if (this.#look && this.canvas.width) this.#draw(this.#look);
    });
  }

  /** @param {Look} look */
  #draw(look) {
    const { canvas } = this;
    const [top, bottom] = [this.place(0, 0), this.place(canvas.height, canvas.width)];
    const view = { u0: Math.max(0, top.u), v0: Math.max(0, top.v), u1: Math.min(this.size[0], bottom.u), v1: Math.min(this.size[1], bottom.v) };
    const levels = this.levels;
    this.#want(view, levels, look.order);
    this.#until = performance.now() + FRAME;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.save();
    const edge = [this.pixel(0, 0), this.pixel(...this.size)];
    context.beginPath();
    context.rect(edge[0].x, edge[0].y, edge[1].x - edge[0].x, edge[1].y - edge[0].y);
    context.clip();
    const [height, width] = levels.map((level) => PAGE / 2 ** level);
    // A passing function replaces the one before as a whole: parts of both would be seen as edges.
    const moment = this.#passing && this.#before && !this.#complete ? this.#before : this.#moment;
    /** @type {(Page | null)[]} */
    const pages = [];
    for (let i = Math.floor(view.u0 / height); i * height < view.u1; i++) {
      for (let j = Math.floor(view.v0 / width); j * width < view.v1; j++) pages.push(this.#page(moment, levels, i, j, look));
    }
    // Until all pages are made, those of the view before are seen below.
    const made = pages.filter((page) => page !== null);
    const below = made.length < pages.length ? this.#seen.filter((page) => page.look === look.look) : [];
    for (const { image, levels, row, column } of [...below, ...made]) {
      const [height, width] = levels.map((level) => PAGE / 2 ** level);
      // From whole pixels to whole pixels, so that no seam is seen.
      const [a, b] = [this.pixel(row * height, column * width), this.pixel((row + 1) * height, (column + 1) * width)];
      const [x, y] = [Math.round(a.x), Math.round(a.y)];
      context.drawImage(image, x, y, Math.round(b.x) - x, Math.round(b.y) - y);
    }
    if (made.length === pages.length) this.#seen = made;
    else this.draw();
    context.restore();
    this.overlay(context);
    this.onview();
  }

  /** Asks for the tiles of a view that are not there, and for no others any more.
   * @param {{ u0: number, v0: number, u1: number, v1: number }} view @param {number[]} levels @param {Order} order */
  #want(view, levels, order) {
    this.#wanted.clear();
    for (const [rank, back] of (this.#passing ? [this.#left] : [...COARSE, 0]).entries()) {
      this.#visible(view, levels.map((level) => level - back), this.#moment, true, (tile, u, v, height, width) => {
        tile.used = ++this.#clock;
        if (tile.orders.has(order)) return;
        const far = Math.hypot((u + height / 2 - this.cursor.u) / height, (v + width / 2 - this.cursor.v) / width);
        const moment = this.#moment;
        const key = `${moment}/${levels.map((level) => level - back)}/${tile.row}/${tile.column}/${order}`;
        this.#wanted.set(key, 1e6 * rank + far);
        if (this.#pending.has(key)) return;
        this.#pending.add(key);
        const steps = [[1 / 2 ** (levels[0] - back), 0], [0, 1 / 2 ** (levels[1] - back)]];
        this.evaluate(this.request(u + height / 2, v + width / 2, [this.side, this.side], steps, order), () => this.#wanted.get(key) ?? Infinity).then((values) => {
          if (!this.#pending.delete(key) || !values) return;
          this.#wanted.delete(key);
          tile.orders.set(order, values);
          this.#arrived(tile, levels.map((level) => level - back), moment, order);
          this.draw();
        });
      });
    }
    const complete = this.#wanted.size === 0;
    if (this.#passing && complete && !this.#complete) this.#passed();
    this.#complete = complete;
    const kept = Math.max(KEPT, 2 * this.#most);
    if (this.#tiles.size < 1.25 * kept) return;
    const newest = [...this.#tiles].sort(([, a], [, b]) => b.used - a.used);
    for (const [key] of newest.slice(kept)) this.#tiles.delete(key);
  }

  /** All tiles of a passing function are there: the next one has more levels if there was time, or fewer. */
  #passed() {
    const took = performance.now() - this.#began;
    if (this.#began) this.#left = Math.min(6, Math.max(0, this.#left + (took > PASSING ? 1 : took < PASSING / 5 ? -1 : 0)));
    this.#began = 0;
    this.#before = this.#moment;
  }

  /** Tiles that a view may have: a level's points are up to √2 times as dense as the canvas's pixels. */
  get #most() {
    const along = (/** @type {number} */ pixels) => Math.ceil((1.42 * pixels) / this.side) + 2;
    return along(this.canvas.height) * along(this.canvas.width);
  }

  /** A request for points of a grid on the sheet about a place. @param {number} u @param {number} v @param {number[]} shape
   * @param {number[][]} steps (u, v) from a point to the next along each axis @param {Order} order @returns {Request} */
  request(u, v, shape, steps, order) {
    const centre = this.coordinates(u, v);
    const [down, right] = [this.coordinates(u + 1, v), this.coordinates(u, v + 1)].map((other) => other.map((x, d) => x - centre[d]));
    return { centre, order, shape, steps: steps.map(([a, b]) => centre.map((_, d) => a * down[d] + b * right[d])) };
  }

  /** Calls `visit` for each tile of some levels within a view.
   * @param {{ u0: number, v0: number, u1: number, v1: number }} view @param {number[]} levels @param {string} moment
   * @param {boolean} make whether tiles that are not there are made @param {(tile: Tile, u: number, v: number, height: number, width: number) => void} visit
   * @returns {number} how many tiles the view has, whether or not they are there */
  #visible({ u0, v0, u1, v1 }, levels, moment, make, visit) {
    const [height, width] = levels.map((level) => this.side / 2 ** level);
    const [i0, i1] = [Math.floor(u0 / height), Math.ceil(u1 / height)];
    const [j0, j1] = [Math.floor(v0 / width), Math.ceil(v1 / width)];
    for (let i = i0; i < i1; i++) {
      for (let j = j0; j < j1; j++) {
        const key = `${moment}/${levels}/${i}/${j}`;
        let tile = this.#tiles.get(key);
        if (!tile && make) {
          tile = { row: i, column: j, orders: new Map(), used: 0 };
          this.#tiles.set(key, tile);
        }
        if (tile) visit(tile, i * height, j * width, height, width);
      }
    }
    return (i1 - i0) * (j1 - j0);
  }

  /** An image of PAGE² points of a level: its tiles and, where they are not there yet, coarser ones and the poster.
   * @param {string} moment @param {number[]} levels @param {number} row @param {number} column @param {Look} look
   * @returns {Page | null} null if this frame has no time to make it */
  #page(moment, levels, row, column, look) {
    const key = `${moment}/${levels}/${row}/${column}`;
    const old = this.#pages.get(key);
    if (old?.look === look.look) {
      this.#fill(old, look);
      return old;
    }
    if (performance.now() > this.#until) return null;
    const image = old?.image ?? Object.assign(document.createElement("canvas"), { width: PAGE, height: PAGE });
    const page = /** @type {Page} */ ({ image, look: look.look, moment, levels, row, column, todo: [] });
    this.#pages.delete(key);
    this.#pages.set(key, page);
    for (const old of [...this.#pages.keys()].slice(0, -Math.max(PAGES, (4 * this.#most * this.side ** 2) / PAGE ** 2))) this.#pages.delete(old);
    const context = /** @type {CanvasRenderingContext2D} */ (image.getContext("2d"));
    const [height, width] = levels.map((level) => PAGE / 2 ** level);
    const part = { u0: Math.max(0, row * height), v0: Math.max(0, column * width), u1: Math.min(this.size[0], (row + 1) * height), v1: Math.min(this.size[1], (column + 1) * width) };
    context.clearRect(0, 0, PAGE, PAGE);
    if (this.poster && look.look.startsWith("value")) {
      context.drawImage(this.poster, -column * PAGE, -row * PAGE, (this.size[1] / width) * PAGE, (this.size[0] / height) * PAGE);
    }
    // From fine to coarse, until a level has all of the page.
    const coarser = /** @type {(() => void)[]} */ ([]);
    let whole = false;
    for (const then of new Set([moment, this.#before])) {
      for (let back = 0; back <= COARSEST && !whole; back++) {
        let count = 0;
        const all = this.#visible(part, levels.map((level) => level - back), then, false, (tile, u, v, h, w) => {
          if (!tile.orders.has(look.order)) return;
          count++;
          if (back === 0 && then === moment) page.todo.push(tile);
          else coarser.push(() => context.drawImage(this.#painted(tile, look), (v / width - column) * PAGE, (u / height - row) * PAGE, (w / width) * PAGE, (h / height) * PAGE));
        });
        whole = count === all;
      }
    }
    for (const draw of coarser.reverse()) draw();
    this.#fill(page, look);
    return page;
  }

  /** Paints tiles on their page, as many as the time of a frame allows. @param {Page} page @param {Look} look */
  #fill({ image, todo }, look) {
    const many = PAGE / this.side; // tiles along each side
    while (todo.length) {
      if (performance.now() > this.#until) return this.draw();
      const { row, column, orders } = /** @type {Tile} */ (todo.pop());
      const [i, j] = [((row % many) + many) % many, ((column % many) + many) % many];
      image.getContext("2d")?.putImageData(look.paint(/** @type {Float32Array} */ (orders.get(look.order)), this.side), j * this.side, i * this.side);
    }
  }

  /** Shows a tile that has come: on its page, and on finer ones where nothing finer is.
   * @param {Tile} tile @param {number[]} levels of the tile @param {string} moment @param {Order} order */
  #arrived(tile, levels, moment, order) {
    const look = this.#look;
    if (!look || look.order !== order || moment !== this.#moment) return;
    const many = PAGE / this.side;
    const own = this.#pages.get(`${moment}/${levels}/${Math.floor(tile.row / many)}/${Math.floor(tile.column / many)}`);
    if (own?.look === look.look) own.todo.push(tile);
    const back = this.levels[0] - levels[0];
    if (back <= 0) return;
    const image = this.#painted(tile, look);
    const cells = 2 ** back; // of the view's level along each side of the tile
    for (const page of this.#pages.values()) {
      if (page.moment !== moment || page.look !== look.look || `${page.levels}` !== `${this.levels}`) continue;
      const context = page.image.getContext("2d");
      const [top, left] = [page.row * many, page.column * many];
      for (let i = Math.max(top, tile.row * cells); i < Math.min(top + many, (tile.row + 1) * cells); i++) {
        for (let j = Math.max(left, tile.column * cells); j < Math.min(left + many, (tile.column + 1) * cells); j++) {
          const finer = (/** @type {number} */ k) => this.#tiles.get(`${moment}/${page.levels.map((level) => level - k)}/${i >> k}/${j >> k}`)?.orders.has(order);
          if (Array.from({ length: back }, (_, k) => finer(k)).some(Boolean)) continue;
          const part = this.side / cells;
          context?.drawImage(image, (j - tile.column * cells) * part, (i - tile.row * cells) * part, part, part, (j - left) * this.side, (i - top) * this.side, this.side, this.side);
        }
      }
    }
  }

  /** A tile as an image, until the next one. @param {Tile} tile @param {Look} look @returns {HTMLCanvasElement} */
  #painted(tile, look) {
    Object.assign(this.#scratch, { width: this.side, height: this.side });
    /** @type {CanvasRenderingContext2D} */ (this.#scratch.getContext("2d")).putImageData(look.paint(/** @type {Float32Array} */ (tile.orders.get(look.order)), this.side), 0, 0);
    return this.#scratch;
  }

  /** What gestures do. @type {import("./gestures.js").Moves} */
  moves = {
    pan: (down, right) => this.pan(down * this.#ratio, right * this.#ratio),
    zoom: (factor, about) => this.zoom(factor, about && this.#under(about)),
    all: () => this.fit(),
    point: (at) => {
      this.cursor = at ? this.#under(at) : { u: this.camera.u, v: this.camera.v };
      this.onview();
    },
  };

  /** Place under a CSS pixel. @param {import("./gestures.js").Pixel} pixel */
  #under({ y, x }) {
    return this.place(y * this.#ratio, x * this.#ratio);
  }

  /** Pixels of the canvas per CSS pixel. */
  get #ratio() {
    return this.canvas.width / this.canvas.clientWidth;
  }

  /** Keeps a part of the sheet in view. */
  #contain() {
    const { camera, size } = this;
    camera.u = Math.min(size[0], Math.max(0, camera.u));
    camera.v = Math.min(size[1], Math.max(0, camera.v));
  }

  #resize() {
    const { canvas } = this;
    const ratio = devicePixelRatio;
    const [height, width] = [Math.round(canvas.clientHeight * ratio), Math.round(canvas.clientWidth * ratio)];
    if (!height || !width || (height === canvas.height && width === canvas.width)) return;
    Object.assign(canvas, { height, width });
    if (this.fitted) this.fit();
    else this.draw();
  }
}
