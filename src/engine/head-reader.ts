import { NoodleError } from "../common/index.ts";
import type { LlamaContext } from "./llama-context.ts";
import { readLogprobs } from "./logprobs.ts";
import { findNonFinite } from "./runs.ts";
import type { Sampler } from "./sampler.ts";
import type { Slot } from "./slots.ts";
import type { RowLogprobs, RowRun, SampledToken } from "./types.ts";

/** A run whose call has been computed. */
export interface ComputedRun {
  readonly index: number;
  readonly run: RowRun;
  /** i32[run.rows] */
  readonly tokens: Int32Array;
  /** Row of the call that the run's first output row is. */
  readonly firstOutputRow: number;
  readonly outputRows: number;
  /** With the run's own tokens in its history. */
  readonly slot: Slot;
}

/** What a stage's head says of the rows of one micro-batch: tokens and log-probabilities. */
export class HeadReader {
  readonly sampled: SampledToken[] = [];
  readonly logprobs: RowLogprobs[] = [];
  readonly #context: LlamaContext;
  readonly #sampler: Sampler;
  readonly #wantLogits: boolean;

  constructor(context: LlamaContext, sampler: Sampler, wantLogits: boolean) {
    this.#context = context;
    this.#sampler = sampler;
    this.#wantLogits = wantLogits;
  }

  /** @throws NoodleError `NON_FINITE` */
  read(computed: ComputedRun): void {
    const { index, run, tokens, firstOutputRow, outputRows, slot } = computed;
    const following = run.following ?? null;
    const top = run.topLogprobs ?? null;
    const firstRow = run.rows - outputRows;
    for (let row = top === null ? run.rows - 1 : firstRow; row < run.rows; row++) {
      const isLast = row === run.rows - 1;
      if (top === null && following !== null) return;
      const callRow = firstOutputRow + row - firstRow;
      const logits = this.#read(callRow);
      let tokenId = isLast ? following : (tokens[row + 1] as number);
      if (tokenId === null) {
        tokenId = this.#sampler.sample(this.#context.pointer, callRow, logits, slot);
        this.sampled.push({ run: index, tokenId, logits: this.#wantLogits ? logits.slice() : null });
      }
      if (top !== null) this.logprobs.push({ run: index, row, ...readLogprobs(logits, tokenId, top) });
    }
  }

  #read(callRow: number): Float32Array {
    const logits = this.#context.logits(callRow);
    const bad = findNonFinite(logits);
    if (bad >= 0) throw new NoodleError("NON_FINITE", `logits of token ${bad} are ${logits[bad]}`);
    return logits;
  }
}
