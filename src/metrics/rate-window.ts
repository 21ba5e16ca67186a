const NS_PER_SECOND = 1e9;

/** A sum over the last whole seconds, kept as one number for each second. */
export class RateWindow {
  readonly #seconds: number;
  readonly #sums: Float64Array;
  /** Which second each sum is of. */
  readonly #of: Float64Array;
  #firstSecond: number | null = null;

  constructor(seconds: number) {
    this.#seconds = seconds;
    this.#sums = new Float64Array(seconds + 1);
    this.#of = new Float64Array(seconds + 1).fill(-1);
  }

  add(monoNs: number, amount: number): void {
    const second = Math.floor(monoNs / NS_PER_SECOND);
    const at = second % this.#sums.length;
    this.#firstSecond ??= second;
    if (this.#of[at] !== second) {
      this.#of[at] = second;
      this.#sums[at] = 0;
    }
    this.#sums[at] = (this.#sums[at] ?? 0) + amount;
  }

  /** Amount for each second: over the whole seconds of the window, less while it is younger than that. */
  perSecond(nowMonoNs: number): number {
    if (this.#firstSecond === null) return 0;
    const now = nowMonoNs / NS_PER_SECOND;
    const current = Math.floor(now);
    let sum = 0;
    for (const [at, second] of this.#of.entries()) {
      // The second under way counts too: a window of a few seconds would lag behind without it.
      if (second >= 0 && second <= current && second > current - this.#seconds) sum += this.#sums[at] ?? 0;
    }
    const from = Math.max(this.#firstSecond, current - this.#seconds + 1);
    return sum / Math.max(1, now - from);
  }
}
