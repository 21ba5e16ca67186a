/** Thrown inside a solver when its time is up; never leaves the planner. */
export class TimeIsUp extends Error {
  override readonly name = "TimeIsUp";
}

/** What is left of the time that a plan may take, on a clock of the caller's. */
export class Deadline {
  readonly #nowMs: () => number;
  readonly #startMs: number;
  readonly #limitMs: number;

  constructor(nowMs: () => number, limitMs: number) {
    this.#nowMs = nowMs;
    this.#startMs = nowMs();
    this.#limitMs = limitMs;
  }

  get spentMs(): number {
    return this.#nowMs() - this.#startMs;
  }

  get leftMs(): number {
    return Math.max(0, this.#limitMs - this.spentMs);
  }

  get passed(): boolean {
    return this.spentMs >= this.#limitMs;
  }

  /** @throws TimeIsUp */
  check(): void {
    if (this.passed) throw new TimeIsUp();
  }

  /** A deadline within this one. */
  within(limitMs: number): Deadline {
    return new Deadline(this.#nowMs, Math.min(limitMs, this.leftMs));
  }

  /** A deadline of its own, from now on. */
  extended(limitMs: number): Deadline {
    return new Deadline(this.#nowMs, limitMs);
  }
}
