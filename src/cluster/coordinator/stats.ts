/** Samples of one quantity; the oldest are forgotten beyond the limit. */
export class SampleWindow {
  readonly #values: number[] = [];
  readonly #limit: number;
  #next = 0;

  constructor(limit = 4096) {
    this.#limit = limit;
  }

  add(value: number): void {
    this.#values[this.#next] = value;
    this.#next = (this.#next + 1) % this.#limit;
  }

  /** Middle value (the lower of two), or null without samples. */
  median(): number | null {
    const sorted = this.#values.toSorted((a, b) => a - b);
    return sorted[Math.floor((sorted.length - 1) / 2)] ?? null;
  }
}
