// @ts-check
/** Functions of one coordinate: sounds, and solutions on an interval. A curve that zooms to single samples and beyond, with
 * its derivatives; for a sound also its spectrogram and loudspeaker. */
import { short, text, ticks } from "./colours.js";
import { buttons, listen } from "./gestures.js";
import { button, choice, colour, element, select } from "./page.js";

/** @typedef {import("./main.js").Shown} Shown */
/** @typedef {"value" | "gradient" | "laplacian"} Order */

const BLOCK = 4096; // samples that are evaluated together
const WINDOW = 1024; // samples of a spectrum
const MOST = 16; // points for each pixel of a curve
const DARK = 80; // dB below the loudest that are the darkest

/** @param {Shown} shown @returns {import("./main.js").View} */
export function showLine({ signal, evaluate, stage, panel, name, palettes }) {
  const { kind, shape, low, high, range, network, rate, record } = signal;
  const { channels } = network;
  const sound = kind === "sound";
  const [count] = shape;
  // The abscissa is in seconds for a sound, sample k at k / rate; else it is the coordinate.
  const [from, to] = sound ? [-0.5 / rate, (count - 0.5) / rate] : [low[0], high[0]];
  const coordinate = (/** @type {number} */ s) => low[0] + ((s - from) / (to - from)) * (high[0] - low[0]);
  const slope = (high[0] - low[0]) / (to - from);
  const half = (range[1] - range[0]) / 2;
  const unit = sound ? "s" : Array.isArray(record.axes) && record.axes.length === 1 ? String(record.axes[0]).slice(0, 40) : "x";

  const canvas = element("canvas", { tabindex: 0, role: "img", "aria-label": `${name}: drag or use the arrow keys to move, wheel or + and - to zoom, 0 for all` });
  const spectrogram = element("canvas", { class: "spectrogram", role: "img", "aria-label": "Spectrogram of the part that is in view" });
  const view = { from, to };
  let cursor = (from + to) / 2;
  let order = /** @type {Order} */ ("value");
  let channel = 0;
  let playing = -1;
  let passing = false; // whether the function will soon be another one, whose samples are not worth their time

  /** All samples of a sound at a rate, as far as they are there. */
  const samples = { rate, values: [new Float32Array(0)], known: new Uint8Array(0), blocks: 0, version: 0 };
  function sample(/** @type {number} */ chosen) {
    const n = Math.max(1, Math.round((count * chosen) / rate));
    const version = samples.version + 1;
    Object.assign(samples, { rate: chosen, values: Array.from({ length: channels }, () => new Float32Array(n)), known: new Uint8Array(Math.ceil(n / BLOCK)), blocks: 0, version });
    return Promise.all(Array.from(samples.known, async (_, block) => {
      const start = block * BLOCK;
      const length = Math.min(BLOCK, n - start);
      const middle = (start + (length - 1) / 2) / chosen;
      const urgency = () => (version !== samples.version ? Infinity : 10 + Math.abs(middle - (view.from + view.to) / 2) / (to - from));
      const found = await evaluate({ centre: [coordinate(middle)], order: "value", shape: [length], steps: [[slope / chosen]] }, urgency);
      if (!found || version !== samples.version) return false;
      for (let c = 0; c < channels; c++) samples.values[c].set(found.subarray(c * length, (c + 1) * length).map((y) => range[0] + half * (y + 1)), start);
      samples.known[block] = 1;
      samples.blocks++;
      draw();
      return true;
    }));
  }

  /** The function itself at every pixel of the view, if it was asked for. */
  let exact = { from: 0, to: 0, order, channel: -1, values: new Float32Array(0) };
  let asking = false;
  let renewed = 0;
  async function askExact() {
    if (asking || (exact.from === view.from && exact.to === view.to && exact.order === order && exact.channel === channel)) return;
    asking = true;
    const mine = renewed;
    const now = { from: view.from, to: view.to, order, channel };
    // Between two pixels there may be many oscillations, which are seen as a band.
    const n = Math.min(MOST, Math.max(2, passing ? 6 : Math.ceil((2 * (now.to - now.from) * rate) / canvas.width))) * canvas.width;
    const found = await evaluate({ centre: [coordinate((now.from + now.to) / 2)], order, shape: [n], steps: [[((now.to - now.from) / (n - 1)) * slope]] }, () => -1);
    asking = false;
    if (mine !== renewed) return draw();
    if (!found) return;
    const stream = { value: 0, gradient: 1, laplacian: 2 }[now.order];
    const values = found.slice((stream * channels + channel) * n, (stream * channels + channel + 1) * n);
    exact = { ...now, values: now.order === "value" ? values.map((y) => range[0] + half * (y + 1)) : values.map((y) => half * slope ** stream * y) };
    draw();
  }

  let scheduled = false;
  function draw() {
    if (scheduled) return;
    scheduled = true;
    requestAnimationFrame(() => {
      scheduled = false;
      if (canvas.isConnected && canvas.width) paint();
    });
  }

  function paint() {
    const ratio = devicePixelRatio;
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const { width, height } = canvas;
    context.clearRect(0, 0, width, height);
    const perPixel = ((view.to - view.from) * samples.rate) / width;
    const dense = sound && order === "value" && perPixel > 4 && !passing;
    if (!dense) askExact();
    const [least, most] = order === "value" && sound ? range : extremes(exact.values);
    const x = (/** @type {number} */ s) => ((s - view.from) / (view.to - view.from)) * width;
    const y = (/** @type {number} */ value) => height - 24 * ratio - ((value - least) / (most - least)) * (height - 40 * ratio);
    Object.assign(context, { font: `${12 * ratio}px system-ui, sans-serif`, lineWidth: ratio, fillStyle: colour("ink"), strokeStyle: colour("line") });
    context.beginPath();
    for (const value of ticks(least, most, 5)) {
      context.moveTo(0, y(value));
      context.lineTo(width, y(value));
    }
    const moments = ticks(view.from, view.to, 6);
    for (const s of moments) {
      context.moveTo(x(s), height - 18 * ratio);
      context.lineTo(x(s), height);
    }
    context.stroke();
    Object.assign(context, { strokeStyle: colour("accent"), fillStyle: colour("accent"), lineWidth: 1.5 * ratio });
    if (dense) {
      const own = samples.values[channel];
      for (let column = 0; column < width; column++) {
        const first = Math.max(0, Math.floor((view.from + ((view.to - view.from) * column) / width) * samples.rate));
        const last = Math.min(own.length, first + Math.ceil(perPixel));
        if (first >= last || !samples.known[Math.floor(first / BLOCK)]) continue;
        const [a, b] = extremes(own.subarray(first, last), false);
        context.fillRect(column, y(b), 1, Math.max(ratio, y(a) - y(b)));
      }
    } else {
      context.beginPath();
      const n = exact.values.length;
      exact.values.forEach((value, i) => context.lineTo(x(exact.from + ((exact.to - exact.from) * i) / (n - 1)), y(value)));
      context.stroke();
      if (sound && order === "value" && perPixel < 0.15 && !passing) {
        const own = samples.values[channel];
        for (let k = Math.max(0, Math.floor(view.from * samples.rate)); k < Math.min(own.length, view.to * samples.rate + 1); k++) {
          if (!samples.known[Math.floor(k / BLOCK)]) continue;
          context.beginPath();
          context.arc(x(k / samples.rate), y(own[k]), 3.5 * ratio, 0, 7);
          context.fill();
        }
      }
    }
    const mark = (/** @type {number} */ s, /** @type {string} */ style) => {
      context.fillStyle = style;
      context.fillRect(x(s), 0, ratio, height);
    };
    const write = (/** @type {string} */ words, /** @type {number} */ left, /** @type {number} */ base) => {
      const at = Math.min(left, width - context.measureText(words).width - 2 * ratio);
      context.fillStyle = colour("veil");
      context.fillRect(at - 2 * ratio, base - 11 * ratio, context.measureText(words).width + 4 * ratio, 14 * ratio);
      context.fillStyle = colour("ink");
      context.fillText(words, at, base);
    };
    for (const value of ticks(least, most, 5)) write(short(value), 4 * ratio, y(value) - 3 * ratio);
    moments.forEach((s, i) => write(`${label(s, view.to - view.from)}${i ? "" : ` ${unit}`}`, x(s) + 3 * ratio, height - 6 * ratio));
    mark(cursor, colour("line"));
    if (playing >= 0) mark(playing, colour("ink"));
    if (sound && !passing) paintSpectrum();
  }

  // The spectrogram, a few columns at a time.
  let painted = "";
  function paintSpectrum() {
    const ratio = devicePixelRatio;
    const [columns, rows] = [Math.min(512, Math.round(spectrogram.clientWidth * ratio)), WINDOW / 2];
    const state = `${view.from}/${view.to}/${channel}/${samples.version}/${samples.blocks}/${columns}`;
    if (state === painted || !columns) return;
    painted = state;
    Object.assign(spectrogram, { width: columns, height: rows });
    top.textContent = kHz(samples.rate / 2);
    const context = /** @type {CanvasRenderingContext2D} */ (spectrogram.getContext("2d"));
    const own = samples.values[channel];
    const reference = 20 * Math.log10((half * WINDOW) / 4);
    let column = 0;
    const some = () => {
      const began = performance.now();
      for (; column < columns && state === painted && performance.now() - began < 12; column++) {
        const middle = Math.round((view.from + ((view.to - view.from) * (column + 0.5)) / columns) * samples.rate);
        const image = context.createImageData(1, rows);
        decibels(own, middle - WINDOW / 2).forEach((level, k) => {
          const at = 3 * Math.round(255 * Math.min(1, Math.max(0, 1 + (level - reference) / DARK)));
          image.data.set([...palettes.sequential.subarray(at, at + 3), 255], 4 * (rows - 1 - k));
        });
        context.putImageData(image, column, 0);
      }
      if (column < columns && state === painted) requestAnimationFrame(some);
    };
    some();
  }

  // The loudspeaker.
  /** @type {AudioContext | null} */
  let audio = null;
  let closed = false;
  let chosen = rate;
  const play = button("▶ Play", async () => {
    if (audio) return silence();
    if (samples.rate !== chosen || samples.blocks < samples.known.length) {
      play.disabled = true;
      const watch = setInterval(() => (play.textContent = `${Math.floor((100 * samples.blocks) / samples.known.length)} %`), 200);
      if (samples.rate !== chosen) await sample(chosen);
      while (samples.blocks < samples.known.length && !closed) await new Promise((resolve) => setTimeout(resolve, 50));
      clearInterval(watch);
      play.disabled = false;
    }
    if (closed) return;
    audio = new AudioContext();
    audio.resume(); // a browser may have begun it at rest
    let buffer;
    try {
      buffer = audio.createBuffer(channels, samples.values[0].length, samples.rate);
    } catch {
      unplayable.textContent = `This browser does not play ${samples.rate} Hz; choose another rate.`;
      return silence();
    }
    samples.values.forEach((values, c) => buffer.copyToChannel(values.map((y) => Math.min(1, Math.max(-1, (y - range[0]) / half - 1))), c));
    const source = new AudioBufferSourceNode(audio, { buffer });
    source.connect(audio.destination);
    source.start(0, Math.max(0, view.from));
    const began = audio.currentTime - Math.max(0, view.from);
    source.onended = silence;
    play.textContent = "■ Stop";
    const follow = () => {
      if (!audio) return;
      playing = audio.currentTime - began;
      draw();
      requestAnimationFrame(follow);
    };
    follow();
  });
  const unplayable = element("p", { class: "note", role: "status" });
  function silence() {
    audio?.close();
    audio = null;
    playing = -1;
    play.textContent = "▶ Play";
    draw();
  }

  // The numbers under the cursor.
  const readout = element("dl", { class: "readout" });
  let [busy, again] = [false, false];
  async function read() {
    if (busy) return void (again = true);
    busy = true;
    const s = cursor;
    const found = await evaluate({ centre: [coordinate(s)], order: "laplacian", shape: [1], steps: [[0]] }, () => -2);
    busy = false;
    if (found) {
      const rows = [[unit, label(s, (view.to - view.from) / 100)], ...(sound ? [["sample", text(s * rate, 7)]] : [])];
      for (let c = 0; c < channels; c++) rows.push([channels > 1 ? `channel ${c + 1}` : "value", text(range[0] + half * (found[c] + 1), 6)]);
      rows.push([`derivative, per ${unit}`, text(half * slope * found[channels + channel])], [`second derivative, per ${unit}²`, text(half * slope ** 2 * found[2 * channels + channel])]);
      readout.replaceChildren(...rows.flatMap(([label, value]) => [element("dt", {}, label), element("dd", {}, value)]));
    }
    if (again) {
      again = false;
      read();
    }
  }

  // Moving about.
  function move(/** @type {number} */ start, width = view.to - view.from) {
    view.from = Math.max(from, Math.min(to - width, start));
    view.to = view.from + width;
    draw();
  }
  const under = (/** @type {number} */ x) => view.from + ((view.to - view.from) * x) / canvas.clientWidth;
  const moves = /** @type {import("./gestures.js").Moves} */ ({
    pan: (_, right) => move(under(-right)),
    zoom: (factor, about) => {
      const width = Math.min(to - from, Math.max((to - from) * 2 ** -36, (view.to - view.from) / factor));
      const still = about ? under(about.x) : (view.from + view.to) / 2;
      move(still - ((still - view.from) * width) / (view.to - view.from), width);
    },
    all: () => move(from, to - from),
    point: (at) => {
      cursor = at ? under(at.x) : (view.from + view.to) / 2;
      draw();
      read();
    },
  });
  listen(canvas, moves);
  new ResizeObserver(() => {
    Object.assign(canvas, { width: Math.round(canvas.clientWidth * devicePixelRatio), height: Math.round(canvas.clientHeight * devicePixelRatio) });
    draw();
  }).observe(canvas);

  const rates = [...new Set([rate, 8000, 16000, 22050, 44100, 48000, 96000])];
  panel.append(
    choice("Show", [["value", "value"], ["gradient", "derivative"], ["laplacian", "second derivative"]], (value) => { order = /** @type {Order} */ (value); draw(); }),
    ...(channels > 1 ? [select("Channel", Array.from({ length: channels }, (_, c) => [String(c), String(c + 1)]), (value) => { channel = Number(value); draw(); read(); })] : []),
    buttons(moves),
    ...(sound ? [element("div", { class: "row" }, play, select("at", rates.map((each) => [String(each), `${each} Hz`]), (value) => { chosen = Number(value); unplayable.textContent = ""; silence(); sample(chosen); })), unplayable] : []),
    element("h2", {}, "Under the cursor"), readout,
  );
  const kHz = (/** @type {number} */ hertz) => `${text(hertz / 1000, 3)} kHz`;
  const top = element("span", { class: "top" });
  const frame = element("figure", { class: "frequencies" }, spectrogram, top, element("span", {}, kHz(0)), element("figcaption", {}, `Spectrogram, dark ${DARK} dB below the loudest`));
  stage.append(canvas, ...(sound ? [frame] : []));
  if (sound) sample(rate);
  read();
  return {
    close() {
      closed = true;
      silence();
    },
    renew(soon) {
      passing = soon;
      renewed++;
      exact.channel = -1; // is seen until there is another one
      play.disabled = frame.hidden = passing;
      if (passing) samples.version++;
      else if (sound) sample(samples.rate);
      draw();
      read();
    },
  };
}

/** @param {Float32Array} values @param {boolean} apart whether the two may not be equal @returns {[number, number]} */
function extremes(values, apart = true) {
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  if (!values.length) return [-1, 1];
  return apart && least === most ? [least - 1, most + 1] : [least, most];
}

/** A time or place with the digits that a width needs. @param {number} s @param {number} width */
const label = (s, width) => s.toFixed(Math.min(9, Math.max(0, 2 - Math.floor(Math.log10(width))))).replace("-", "−");

/** Levels of the frequencies of WINDOW samples under Hann's window, in dB. @param {Float32Array} samples @param {number} start */
function decibels(samples, start) {
  const last = samples.length - 1;
  const mirrored = (/** @type {number} */ k) => samples[Math.max(0, Math.min(last, k < 0 ? -k : k > last ? 2 * last - k : k))];
  const real = Float64Array.from({ length: WINDOW }, (_, i) => mirrored(start + i) * Math.sin((Math.PI * i) / WINDOW) ** 2);
  const imaginary = new Float64Array(WINDOW);
  transform(real, imaginary);
  return Float32Array.from({ length: WINDOW / 2 }, (_, k) => 10 * Math.log10(real[k] ** 2 + imaginary[k] ** 2 + 1e-30));
}

/** Fourier's transform in place, by Cooley and Tukey. @param {Float64Array} real @param {Float64Array} imaginary */
function transform(real, imaginary) {
  const n = real.length;
  for (let i = 0, j = 0; i < n; i++) {
    if (i < j) [real[i], real[j], imaginary[i], imaginary[j]] = [real[j], real[i], imaginary[j], imaginary[i]];
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
  }
  for (let size = 2; size <= n; size *= 2) {
    for (let k = 0; k < size / 2; k++) {
      const [c, s] = [Math.cos((2 * Math.PI * k) / size), -Math.sin((2 * Math.PI * k) / size)];
      for (let i = k; i < n; i += size) {
        const j = i + size / 2;
        const [x, y] = [c * real[j] - s * imaginary[j], c * imaginary[j] + s * real[j]];
        [real[j], imaginary[j], real[i], imaginary[i]] = [real[i] - x, imaginary[i] - y, real[i] + x, imaginary[i] + y];
      }
    }
  }
}
