/** Node's timers are a millisecond and more late: the last stretch is waited for turn by turn of the event loop. */
const COARSE_MS = 1.5;

/** Calls back at a time, to within about 0.1 ms on an idle thread. The last time that was set counts. */
export class Alarm {
  readonly #ring: () => void;
  #atMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #turn: NodeJS.Immediate | null = null;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** @param atMs of `performance.now()`; Infinity = not at all */
  set(atMs: number): void {
    if (atMs === this.#atMs) return;
    this.#clear();
    this.#atMs = atMs;
    if (atMs !== Number.POSITIVE_INFINITY) this.#wait();
  }

  stop(): void {
    this.set(Number.POSITIVE_INFINITY);
  }

  #wait(): void {
    this.#timer = null;
    this.#turn = null;
    const leftMs = this.#atMs - performance.now();
    if (leftMs > COARSE_MS) this.#timer = setTimeout(() => this.#wait(), leftMs - COARSE_MS);
    else if (leftMs > 0) this.#turn = setImmediate(() => this.#wait());
    else {
      this.#atMs = Number.POSITIVE_INFINITY;
      this.#ring();
    }
  }

  #clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#timer = null;
    this.#turn = null;
  }
}
