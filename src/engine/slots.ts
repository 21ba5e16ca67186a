import { NoodleError } from "../common/index.ts";
import type { HeldPositions } from "./check-input.ts";
import type { GrammarFollower } from "./gbnf/index.ts";
import type { SamplingParams, SlotStart } from "./types.ts";

export interface Slot {
  readonly sampling: SamplingParams;
  /** Where the prompt ends and the grammar begins. */
  readonly promptTokens: number;
  /** Token ids of every position so far: the sampler's memory, and with its length the next position. */
  readonly history: number[];
  /** Null without a grammar, and on a stage without head. */
  readonly grammar: GrammarFollower | null;
}

/** The beginning that a slot shall start with. */
export interface Beginning {
  readonly tokens: number;
  /** Slot that holds it, perhaps the same one; undefined for nothing. */
  readonly source: number | undefined;
}

/** The sequences of a stage: open ones, and what closed ones have kept. */
export class SlotTable implements HeldPositions {
  readonly #open: (Slot | undefined)[];
  /** Token ids of what closed slots keep. */
  readonly #kept: (readonly number[] | undefined)[];

  constructor(parallel: number) {
    this.#open = Array.from({ length: parallel }, () => undefined);
    this.#kept = Array.from({ length: parallel }, () => undefined);
  }

  /**
   * Says what a slot would start with; changes nothing.
   *
   * @throws NoodleError `SESSION_LIMIT` when the slot does not exist, `PREFIX_GONE` when what it asks for is not held
   */
  findBeginning(slot: number, start?: SlotStart): Beginning {
    if (!this.#exists(slot)) {
      throw new NoodleError(
        "SESSION_LIMIT",
        `slot ${slot} does not exist: this stage has ${this.#open.length} (--parallel)`,
      );
    }
    const tokens = start?.keepTokens ?? 0;
    for (const count of [tokens, start?.promptTokens ?? 0]) {
      if (!Number.isInteger(count) || count < 0)
        throw new NoodleError("USAGE", `a slot can not start with ${count} positions`);
    }
    if (tokens === 0) return { tokens: 0, source: undefined };
    const source = start?.copyFrom ?? slot;
    const held = source === slot ? this.countKept(slot) : this.#heldBy(source).length;
    if (held < tokens) {
      throw new NoodleError(
        "PREFIX_GONE",
        `slot ${slot} shall start with ${tokens} positions of slot ${source}, which holds ${held} of them`,
        { details: { have: held } },
      );
    }
    return { tokens, source };
  }

  /** @throws NoodleError as `findBeginning` */
  open(slot: number, opening: Pick<Slot, "sampling" | "grammar"> & { readonly start: SlotStart | undefined }): void {
    const { tokens, source } = this.findBeginning(slot, opening.start);
    const history = source === undefined ? [] : this.#heldBy(source).slice(0, tokens);
    const { sampling, grammar, start } = opening;
    this.#open[slot] = { sampling, grammar, promptTokens: start?.promptTokens ?? 0, history };
    this.#kept[slot] = undefined;
  }

  /**
   * A slot that is closed already keeps what it kept, or nothing any more without `keep`.
   *
   * @returns whether there is a slot that holds nothing now
   */
  close(slot: number, keep = false): boolean {
    if (!this.#exists(slot)) return false;
    const open = this.#open[slot];
    this.#open[slot] = undefined;
    if (!keep) this.#kept[slot] = undefined;
    else if (open !== undefined && open.history.length > 0) this.#kept[slot] = open.history;
    return this.#kept[slot] === undefined;
  }

  /** Positions that a closed slot keeps. */
  countKept(slot: number): number {
    return this.#kept[slot]?.length ?? 0;
  }

  held(slot: number): number {
    return this.#heldBy(slot).length;
  }

  next(slot: number): number | undefined {
    return this.#open[slot]?.history.length;
  }

  get(slot: number): Slot {
    const found = this.#open[slot];
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

  #exists(slot: number): boolean {
    return Number.isInteger(slot) && slot >= 0 && slot < this.#open.length;
  }

  #heldBy(slot: number): readonly number[] {
    return this.#open[slot]?.history ?? this.#kept[slot] ?? [];
  }
}
