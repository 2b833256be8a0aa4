// @ts-check
/** A fit that runs: its network and its learning curve every second, and how far it is. */
import { curve } from "./curve.js";
import { short } from "./colours.js";
import { bytesOf, element } from "./page.js";

/** @typedef {{ version: number, step: number, left: number | null, quality: string | null, curve: [number, number | null][], label: string, logarithmic: boolean, done: boolean, file: string | null }} State  see siren_jax/cli/live.py */

const EVERY = 1000; // ms between two questions
const LONGEST = 5000; // ms for which a view that is busy keeps its network
const UNANSWERED = 3; // questions after which nobody is expected to answer

const pause = (/** @type {number} */ ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks for the fit's state until the fit has ended. @param {HTMLElement} panel
 * @param {{ busy: () => boolean, ended: () => boolean, change: (file: ArrayBuffer) => void, rest: () => void }} view  `rest`: the
 * function stays as it is from now on */
export async function follow(panel, { busy, ended, change, rest }) {
  const plot = element("canvas", { class: "learning", role: "img", "aria-label": "The learning curve" });
  const told = element("p", { class: "note" }, "The network is untrained, and its fit begins.");
  panel.prepend(element("section", { class: "live", "aria-label": "The fit" }, told, plot));
  let [version, step, changed, missed, done] = [0, 0, -Infinity, 0, false];
  const finish = (/** @type {string} */ words) => {
    told.setAttribute("role", "status");
    told.textContent = words;
    rest();
  };
  for (;;) {
    const wanted = done || !busy() || performance.now() - changed > LONGEST;
    /** @type {State | null} */
    const state = await asked(wanted ? `/state?since=${version}` : "/state");
    if (ended()) return;
    missed = state ? 0 : missed + 1;
    if (missed === UNANSWERED) return finish(`The fit does not answer any more; this is its network after ${counted(step)}.`);
    if (state) {
      if (state.file !== null) {
        change(bytesOf(state.file).buffer);
        [version, step, changed] = [state.version, state.step, performance.now()];
      }
      draw(plot, state);
      done = state.done;
      if (done && version === state.version) return finish(`The fit has ended. This is its network after ${counted(step)}: ${state.quality}.`);
      if (state.version) told.textContent = `${counted(state.step)}: ${state.quality}${state.left === null ? "" : `; ${duration(state.left)} left`}`;
    }
    if (!done || !state) await pause(EVERY);
  }
}

/** @param {string} address @returns {Promise<State | null>} */
async function asked(address) {
  try {
    const answer = await fetch(address);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** @param {HTMLCanvasElement} plot @param {State} state */
function draw(plot, { curve: points, label, logarithmic, step }) {
  const known = points.filter(([, quality]) => quality !== null && (!logarithmic || quality > 0));
  if (known.length < 2 || !plot.clientWidth) return;
  const height = (/** @type {number} */ quality) => (logarithmic ? Math.log10(quality) : quality);
  const named = (/** @type {number} */ value) => short(logarithmic ? Number((10 ** value).toPrecision(2)) : value);
  const places = known.map(([at]) => at);
  const placed = (/** @type {number} */ place) => place.toLocaleString("en");
  curve(plot, known.map(([, quality]) => height(Number(quality))), [0, Math.max(step, ...places)], "step", label, { places, named, placed });
}

/** @param {number} step */
const counted = (step) => `${step.toLocaleString("en")} ${step === 1 ? "step" : "steps"}`;

/** @param {number} seconds */
const duration = (seconds) => (seconds < 90 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`);
