// @ts-check
/** Evaluators that share a queue: the most urgent job is taken next, and jobs that nobody wants any more are dropped. */

/** @typedef {import("./worker.js").Request} Request */
/** @typedef {{ evaluate: (request: Request) => Promise<Float32Array> }} Evaluator  `[stream][channel][point]` */
/** @typedef {{ request: Request, urgency: () => number, resolve: (result: Float32Array | null) => void, reject: (error: Error) => void }} Job */

const AHEAD = 2; // jobs that an evaluator has at a time, so that it never waits

/** A worker that answers its messages one by one. */
export class Hand {
  /** @type {Map<number, [(result: any) => void, (error: Error) => void]>} */
  #asked = new Map();
  #numbered = 0;

  /** @param {string} url of the script @param {WebAssembly.Module} module @param {import("./siren_file.js").Network} network */
  constructor(url, module, network) {
    this.worker = new Worker(url);
    this.worker.postMessage({ module, network });
    this.worker.onerror = ({ message }) => {
      for (const [, reject] of this.#asked.values()) reject(new Error(message));
      this.#asked.clear();
    };
    this.worker.onmessage = ({ data: { number, result, error } }) => {
      const [resolve, reject] = /** @type {[(result: any) => void, (error: Error) => void]} */ (this.#asked.get(number));
      this.#asked.delete(number);
      if (error) reject(new Error(error));
      else resolve(result);
    };
  }

  /** Takes the weights of another network of the same sizes. @param {import("./siren_file.js").Network} network */
  change(network) {
    this.worker.postMessage({ network });
  }

  /** @param {object} message @returns {Promise<any>} */
  ask(message) {
    const number = this.#numbered++;
    this.worker.postMessage({ number, ...message });
    return new Promise((resolve, reject) => this.#asked.set(number, [resolve, reject]));
  }

  /** @param {Request} request @returns {Promise<Float32Array>} */
  evaluate(request) {
    return this.ask({ request });
  }
}

export class Queue {
  /** @type {Job[]} */
  #waiting = [];
  /** @type {Map<Evaluator, number>} jobs of each */
  #jobs;

  /** @param {Evaluator[]} evaluators */
  constructor(evaluators) {
    this.#jobs = new Map(evaluators.map((each) => [each, 0]));
  }

  /** The network at points, or null if the job is not wanted any more when its turn comes.
   * @param {Request} request @param {() => number} urgency least first; Infinity for a job that is not wanted
   * @returns {Promise<Float32Array | null>} */
  evaluate(request, urgency = () => 0) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request, urgency, resolve, reject });
      this.#next();
    });
  }

  #next() {
    for (const [evaluator, jobs] of this.#jobs) {
      for (let n = jobs; n < AHEAD; n++) {
        const job = this.#take();
        if (!job) return;
        this.#jobs.set(evaluator, n + 1);
        evaluator.evaluate(job.request).then(job.resolve, job.reject).finally(() => {
          this.#jobs.set(evaluator, /** @type {number} */ (this.#jobs.get(evaluator)) - 1);
          this.#next();
        });
      }
    }
  }

  /** @returns {Job | undefined} */
  #take() {
    const urgencies = new Map(this.#waiting.map((job) => [job, job.urgency()]));
    const wanted = this.#waiting.filter((job) => urgencies.get(job) !== Infinity || job.resolve(null));
    const number = (/** @type {Job} */ job) => /** @type {number} */ (urgencies.get(job));
    const first = wanted.reduce((best, job) => (number(job) < number(best) ? job : best), wanted[0]);
    this.#waiting = wanted.filter((job) => job !== first);
    return first;
  }
}
