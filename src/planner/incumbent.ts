/** Relative difference at which a bound and a value are the same: what rounding of sums can make. */
export const MEETS = 1e-9;

/** The best plan so far and what no plan can beat; solvers feed it, and it survives when their time is up. */
export class Incumbent<T> {
  #plan: T | null = null;
  #value = Number.POSITIVE_INFINITY;
  #bound = 0;

  get plan(): T | null {
    return this.#plan;
  }

  /** Infinite without a plan. */
  get value(): number {
    return this.#value;
  }

  /** Never above the value. */
  get bound(): number {
    return Math.min(this.#bound, this.#value);
  }

  /** Nothing better exists. */
  get isProven(): boolean {
    return this.#plan !== null && meets(this.#value, this.#bound);
  }

  /** Keeps the plan if it is better by more than rounding. */
  offer(plan: T, value: number): boolean {
    if (value >= this.#value * (1 - 1e-13)) return false;
    this.#plan = plan;
    this.#value = value;
    return true;
  }

  raise(bound: number): void {
    if (bound > this.#bound) this.#bound = bound;
  }
}

/** Whether a bound proves a value. */
export function meets(value: number, bound: number): boolean {
  return value - bound <= MEETS * Math.abs(value);
}
