/**
 * Makes this machine a slower one: behind each engine call that took t, the thread waits idly for (factor - 1) t. The
 * time that a call really took is multiplied, whatever anybody expected of it, and no core is busy meanwhile, so that
 * several workers of one machine can be unlike machines without fighting for its cores.
 */
export class EmulatedSpeed {
  readonly #factor: number;
  readonly #nowNs: () => number;
  readonly #waitMs: (ms: number) => void;
  /** What earlier waits have taken too long; the next ones are shorter. */
  #aheadNs = 0;

  /**
   * @param factor times that a call takes as long; 1 = as long as it takes
   * @param nowNs monotonic
   * @param waitMs blocks the thread; may take a little longer
   */
  constructor(factor: number, nowNs: () => number, waitMs: (ms: number) => void = waitIdly) {
    this.#factor = factor;
    this.#nowNs = nowNs;
    this.#waitMs = waitMs;
  }

  /** Waits behind a call. @returns when the call ends on the emulated machine: about now */
  finish(startNs: number, endNs: number): number {
    if (this.#factor <= 1) return endNs;
    const wantedNs = (this.#factor - 1) * (endNs - startNs);
    const useNs = Math.min(this.#aheadNs, wantedNs);
    const untilNs = endNs + wantedNs - useNs;
    const leftNs = untilNs - this.#nowNs();
    if (leftNs > 0) this.#waitMs(leftNs / 1e6);
    const nowNs = this.#nowNs();
    // A thread that was not woken for long has lost that time: it is not caught up in one call.
    this.#aheadNs = Math.min(this.#aheadNs - useNs + Math.max(0, nowNs - untilNs), MOST_AHEAD_NS);
    return nowNs;
  }
}

const MOST_AHEAD_NS = 2e6;

const never = new Int32Array(new SharedArrayBuffer(4));

function waitIdly(ms: number): void {
  Atomics.wait(never, 0, 0, ms);
}
