/** The last values of one quantity. */
export class SampleRing {
  readonly #values: Float64Array;
  #added = 0;
  #sum = 0;

  constructor(limit: number) {
    this.#values = new Float64Array(limit);
  }

  get size(): number {
    return Math.min(this.#added, this.#values.length);
  }

  add(value: number): void {
    const at = this.#added % this.#values.length;
    this.#sum += value - (this.#values[at] ?? 0);
    this.#values[at] = value;
    this.#added += 1;
  }

  /** 0 when empty. */
  mean(): number {
    return this.size === 0 ? 0 : this.#sum / this.size;
  }

  /** Values at these ranks (0-1), the lower one between two; null when empty. */
  quantiles(...ranks: readonly number[]): readonly number[] | null {
    if (this.size === 0) return null;
    const sorted = this.#values.slice(0, this.size).sort();
    return ranks.map((rank) => sorted[Math.floor((sorted.length - 1) * rank)] ?? 0);
  }

  clear(): void {
    this.#values.fill(0);
    this.#added = 0;
    this.#sum = 0;
  }
}
