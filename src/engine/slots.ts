import { NoodleError } from "../common/index.ts";
import type { SamplingParams } from "./types.ts";

export interface Slot {
  readonly sampling: SamplingParams;
  /** Token ids of every position so far: the sampler's memory, and with its length the next position. */
  readonly history: number[];
}

/** The open sequences of a stage. */
export class SlotTable {
  readonly #slots: (Slot | undefined)[];

  constructor(parallel: number) {
    this.#slots = Array.from({ length: parallel }, () => undefined);
  }

  open(slot: number, sampling: SamplingParams): void {
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.#slots.length) {
      throw new NoodleError(
        "SESSION_LIMIT",
        `slot ${slot} does not exist: this stage has ${this.#slots.length} (--parallel)`,
      );
    }
    this.#slots[slot] = { sampling, history: [] };
  }

  /** @returns whether it was open. */
  close(slot: number): boolean {
    const was = this.#slots[slot] !== undefined;
    if (was) this.#slots[slot] = undefined;
    return was;
  }

  find(slot: number): Slot | undefined {
    return this.#slots[slot];
  }

  get(slot: number): Slot {
    const found = this.#slots[slot];
    if (found === undefined) throw new NoodleError("SESSION_NOT_FOUND", `slot ${slot} is not open`);
    return found;
  }

  truncate(slot: number, position: number): void {
    const { history } = this.get(slot);
    if (!Number.isInteger(position) || position < 0 || position > history.length) {
      throw new NoodleError(
        "STEP_OUT_OF_ORDER",
        `cannot truncate slot ${slot} to ${position}: it has ${history.length} positions`,
        { details: { have: history.length } },
      );
    }
    history.length = position;
  }
}
