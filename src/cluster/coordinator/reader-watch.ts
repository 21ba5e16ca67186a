import { NoodleError } from "../../common/index.ts";
import type { Clock } from "./clock.ts";
import type { Generation } from "./generation.ts";

const CHECK_MS = 1000;

interface Reading {
  taken: number;
  sinceMs: number;
}

/** Drops readers that take nothing of what waits for them. Their generations go on. */
export class ReaderWatch {
  readonly #clock: Clock;
  readonly #stallMs: number;
  readonly #readings = new Map<Generation, Reading>();
  #timer: NodeJS.Timeout | null = null;

  /** @param stallMs longest time that something may wait for a reader */
  constructor(clock: Clock, stallMs: number) {
    this.#clock = clock;
    this.#stallMs = stallMs;
  }

  add(generation: Generation): void {
    this.#readings.set(generation, { taken: 0, sinceMs: this.#clock.nowMs() });
    if (this.#timer !== null) return;
    this.#timer = setInterval(() => this.#check(), Math.min(CHECK_MS, this.#stallMs));
    this.#timer.unref();
  }

  delete(generation: Generation): void {
    this.#readings.delete(generation);
    if (this.#readings.size === 0) this.stop();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #check(): void {
    const nowMs = this.#clock.nowMs();
    for (const [generation, reading] of this.#readings) {
      const { size, taken } = generation.output;
      if (size === 0 || taken !== reading.taken) {
        reading.taken = taken;
        reading.sinceMs = nowMs;
      } else if (nowMs - reading.sinceMs >= this.#stallMs) {
        const text = `the reader took nothing for ${Math.round(nowMs - reading.sinceMs)} ms, the limit is ${this.#stallMs} (readerStallMs)`;
        generation.dropReader(new NoodleError("TIMED_OUT", text));
        this.delete(generation);
      }
    }
  }
}
