// @ts-check
/** Small parts of the page. */

/** An element with its attributes, listeners and children. @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag @param {Record<string, any>} attributes those of functions are listeners
 * @param {(Node | string)[]} children texts are text, never HTML @returns {HTMLElementTagNameMap[T]} */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null) made.setAttribute(name, String(value));
  }
  made.append(...children);
  return made;
}

let named = 0;

/** A choice between a few words. @param {string} label @param {[value: string, text: string][]} options
 * @param {(value: string) => void} change @returns {HTMLFieldSetElement} */
export function choice(label, options, change) {
  const name = `choice-${named++}`;
  const radio = ([value, text] = ["", ""], i = 0) =>
    element("label", {}, element("input", { type: "radio", name, value, checked: i === 0, change: () => change(value) }), element("span", {}, text));
  return element("fieldset", { class: "choice" }, element("legend", {}, label), ...options.map(radio));
}

/** A list of which one is chosen. @param {string} label @param {[value: string, text: string][]} options @param {(value: string) => void} change */
export function select(label, options, change) {
  const list = element("select", { change: () => change(list.value) }, ...options.map(([value, text]) => element("option", { value }, text)));
  return element("label", { class: "field" }, label, list);
}

/** @param {string} text @param {() => void} click @param {string} title */
export const button = (text, click, title = text) => element("button", { type: "button", title, "aria-label": title, click }, text);

/** @param {string} label @param {(on: boolean) => void} change @param {boolean} on */
export function tick(label, change, on = false) {
  const box = element("input", { type: "checkbox", checked: on, change: () => change(box.checked) });
  return element("label", { class: "tick" }, box, label);
}

/** A slider with its value as text, and a button that plays it.
 * @param {string} label @param {number} low @param {number} high @param {number} value @param {(value: number) => string} text
 * @param {(value: number) => void} change @param {number} seconds from end to end, if it can be played; 0 if not */
export function slider(label, low, high, value, text, change, seconds = 0) {
  const input = element("input", { type: "range", min: low, max: high, step: "any", value });
  const output = element("output", {}, text(value));
  const set = (/** @type {number} */ to) => {
    input.value = String(to);
    output.textContent = text(to);
    input.setAttribute("aria-valuetext", text(to));
    change(to);
  };
  input.addEventListener("input", () => set(Number(input.value)));
  const field = element("label", { class: "slider" }, element("span", {}, label), input, output);
  if (!seconds) return field;
  let last = 0;
  const play = button("▶", () => {
    if (last) return stop();
    play.textContent = "❚❚";
    if (Number(input.value) >= high) set(low);
    last = performance.now();
    requestAnimationFrame(step);
  }, `Play ${label}`);
  const stop = () => {
    last = 0;
    play.textContent = "▶";
  };
  const step = (/** @type {number} */ now) => {
    if (!last || !play.isConnected) return;
    const next = Number(input.value) + ((high - low) * (now - last)) / (1000 * seconds);
    last = now;
    set(Math.min(high, next));
    if (next >= high) stop();
    else requestAnimationFrame(step);
  };
  return element("div", { class: "played" }, play, field);
}

/** Offers bytes as a file. @param {Blob} blob @param {string} name */
export function download(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

/** The numbers of base64. @param {string} text @returns {Uint8Array<ArrayBuffer>} */
export function bytesOf(text) {
  const letters = atob(text);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
  return bytes;
}

/** Bytes that were deflated. @param {Uint8Array<ArrayBuffer>} bytes @returns {Promise<ArrayBuffer>} */
export const inflated = (bytes) => new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).arrayBuffer();

/** Colours of the page, for what is drawn on a canvas. @param {string} name @returns {string} */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
