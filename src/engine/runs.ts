import { NoodleError } from "../common/index.ts";
import type { Phase } from "../observe/index.ts";
import type { RowRun, StageInput } from "./types.ts";

/**
 * Splits the runs of a micro-batch into engine calls. With one KV stream per sequence, the engine computes in one go
 * only consecutive sequences with equal row counts, and would split anything else silently; every stage must form the
 * same calls, since a row's bits depend on how many rows it is computed with.
 *
 * @returns indices into `runs`, each group in ascending slot order.
 */
export function groupRuns(runs: readonly RowRun[]): readonly (readonly number[])[] {
  const order = runs.map((_, index) => index).sort((a, b) => (runs[a]?.slot ?? 0) - (runs[b]?.slot ?? 0));
  const groups: number[][] = [];
  let previous: RowRun | undefined;
  for (const index of order) {
    const run = runs[index];
    if (run === undefined) continue;
    const group = groups.at(-1);
    if (group !== undefined && previous !== undefined && run.slot === previous.slot + 1 && run.rows === previous.rows)
      group.push(index);
    else groups.push([index]);
    previous = run;
  }
  return groups;
}

/** Rows of a run whose logits are wanted. */
export function countOutputRows(run: RowRun): number {
  return run.output === "all" ? run.rows : run.output === "last" ? 1 : 0;
}

export function countRows(runs: readonly RowRun[]): number {
  return runs.reduce((sum, run) => sum + run.rows, 0);
}

/** A micro-batch, or a part of it, in two words. */
export function describeCall(runs: readonly RowRun[]): { readonly phase: Phase; readonly contextTokens: number } {
  return {
    phase: runs.every((run) => run.rows === 1) ? "decode" : "prefill",
    contextTokens: runs.reduce((most, run) => Math.max(most, run.position + run.rows), 0),
  };
}

export interface InputLimits {
  readonly parallel: number;
  readonly contextTokens: number;
  readonly maxRows: number;
  readonly nEmbd: number;
  /** Rows come as hidden states (the stage does not hold unit 0). */
  readonly wantsHidden: boolean;
  /** Only output rows come (the stage holds nothing but the head). */
  readonly outputRowsOnly: boolean;
  /** Most rows whose logits can be had in one micro-batch. @default all */
  readonly maxOutputs?: number;
}

/**
 * Checks a micro-batch before anything reaches the engine, which would abort the process on some of these.
 *
 * @param nextPosition position each slot must go on from; undefined for a slot that is not open.
 */
export function checkInput(
  input: StageInput,
  limits: InputLimits,
  nextPosition: (slot: number) => number | undefined,
): void {
  const seen = new Set<number>();
  for (const run of input.runs) {
    const next = run.slot < limits.parallel ? nextPosition(run.slot) : undefined;
    if (next === undefined)
      throw new NoodleError(
        "SESSION_NOT_FOUND",
        `slot ${run.slot} is not open (0..${limits.parallel - 1}, --parallel)`,
      );
    if (seen.has(run.slot)) throw new NoodleError("FRAME_INVALID", `slot ${run.slot} has two runs in one micro-batch`);
    seen.add(run.slot);
    if (!Number.isInteger(run.rows) || run.rows < 1) throw new NoodleError("FRAME_INVALID", `run of ${run.rows} rows`);
    if (run.position !== next) {
      throw new NoodleError(
        "STEP_OUT_OF_ORDER",
        `slot ${run.slot} goes on at position ${next}, the step says ${run.position}`,
        { details: { have: next } },
      );
    }
    if (run.position + run.rows > limits.contextTokens) {
      throw new NoodleError(
        "CONTEXT_EXCEEDED",
        `position ${run.position + run.rows} is beyond the context of ${limits.contextTokens} tokens (--context)`,
      );
    }
  }
  const rows = countRows(input.runs);
  if (rows === 0 || rows > limits.maxRows)
    throw new NoodleError("FRAME_INVALID", `micro-batch of ${rows} rows, the limit is ${limits.maxRows}`);
  if (input.tokens.length !== rows)
    throw new NoodleError("FRAME_INVALID", `${input.tokens.length} tokens for ${rows} rows`);
  const outputRows = input.runs.reduce((sum, run) => sum + countOutputRows(run), 0);
  const maxOutputs = limits.maxOutputs ?? limits.maxRows;
  if (outputRows > maxOutputs) {
    throw new NoodleError(
      "FRAME_INVALID",
      `the logits of ${outputRows} rows are wanted, a micro-batch gives at most ${maxOutputs} (--parallel); ask for fewer rows at a time`,
    );
  }
  const hiddenRows = limits.outputRowsOnly ? outputRows : rows;
  if (!limits.wantsHidden) {
    if (input.hidden !== null)
      throw new NoodleError("FRAME_INVALID", "hidden states sent to the stage that holds the embedding");
  } else if (input.hidden === null || input.hidden.length !== hiddenRows * limits.nEmbd) {
    throw new NoodleError(
      "FRAME_INVALID",
      `${input.hidden?.length ?? 0} hidden values, ${hiddenRows} rows of ${limits.nEmbd} were expected`,
    );
  }
}

/** @throws NoodleError `USAGE`, `CONTEXT_EXCEEDED` for a number of positions that `fillContext` can not make */
export function checkFill(tokens: number, contextTokens: number): void {
  if (!Number.isInteger(tokens) || tokens < 0)
    throw new NoodleError("USAGE", `context of ${tokens} tokens, it must be a whole number from 0`);
  if (tokens > contextTokens) {
    throw new NoodleError(
      "CONTEXT_EXCEEDED",
      `${tokens} positions are beyond the context of ${contextTokens} tokens (--context)`,
    );
  }
}

/** @returns index of the first NaN or infinity, or -1. */
export function findNonFinite(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    if (((bits[i] as number) & 0x7f800000) === 0x7f800000) return i;
  }
  return -1;
}
