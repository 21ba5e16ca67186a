import type { Spread } from "./run-digest.ts";

const LOG_BASE = Math.log(1.02);
/** Below this everything is one bucket: nothing that is measured here is shorter. */
const SMALLEST = 1e-9;

/** Quantiles of positive numbers within one percent, in memory that does not grow with their count. */
export class Sketch {
  readonly #buckets = new Map<number, number>();
  #count = 0;
  #sum = 0;
  #max = 0;

  /** Values that are no positive number count as zero. */
  add(value: number): void {
    const safe = Number.isFinite(value) && value > 0 ? value : 0;
    const bucket = safe < SMALLEST ? Number.NEGATIVE_INFINITY : Math.floor(Math.log(safe) / LOG_BASE);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
    this.#count += 1;
    this.#sum += safe;
    if (safe > this.#max) this.#max = safe;
  }

  merge(other: Sketch): void {
    for (const [bucket, count] of other.#buckets) this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + count);
    this.#count += other.#count;
    this.#sum += other.#sum;
    this.#max = Math.max(this.#max, other.#max);
  }

  get count(): number {
    return this.#count;
  }

  get sum(): number {
    return this.#sum;
  }

  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count;
  }

  /** @param q 0 to 1. Zero when nothing was added. */
  quantile(q: number): number {
    if (this.#count === 0) return 0;
    const rank = Math.min(this.#count, Math.max(1, Math.ceil(q * this.#count)));
    let seen = 0;
    for (const bucket of [...this.#buckets.keys()].sort((a, b) => a - b)) {
      seen += this.#buckets.get(bucket) ?? 0;
      if (seen < rank) continue;
      if (bucket === Number.NEGATIVE_INFINITY) return 0;
      return Math.min(this.#max, Math.exp((bucket + 0.5) * LOG_BASE));
    }
    return this.#max;
  }
}

/** Null of an empty sketch. */
export function spreadOf(sketch: Sketch): Spread | null {
  if (sketch.count === 0) return null;
  return { count: sketch.count, p50: sketch.quantile(0.5), p95: sketch.quantile(0.95) };
}
