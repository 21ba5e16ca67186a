/** What was busy, and for how long. */
export interface BusyReading {
  /** Time that it was busy since some start. */
  readonly busyNs: number;
  /** Time that has passed since the same start. */
  readonly wallNs: number;
}

/** The share of the time that something is busy, over the last readings. */
export class BusyWindow {
  readonly #spanNs: number;
  readonly #readings: BusyReading[] = [];

  /** @param spanMs a step longer than it makes the share jump: it is counted when it ends */
  constructor(spanMs: number) {
    this.#spanNs = spanMs * 1e6;
  }

  push(reading: BusyReading): void {
    if (reading.wallNs < (this.#readings.at(-1)?.wallNs ?? 0)) this.#readings.length = 0;
    this.#readings.push(reading);
    const oldestNs = reading.wallNs - this.#spanNs;
    for (let next = this.#readings[1]; next !== undefined && next.wallNs <= oldestNs; next = this.#readings[1]) {
      this.#readings.shift();
    }
  }

  /** From 0 to 1; null before the second reading. */
  get share(): number | null {
    const [first] = this.#readings;
    const last = this.#readings.at(-1);
    if (first === undefined || last === undefined || last.wallNs <= first.wallNs) return null;
    return Math.min(1, (last.busyNs - first.busyNs) / (last.wallNs - first.wallNs));
  }
}
