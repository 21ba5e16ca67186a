import { NoodleError } from "../common/index.ts";
import { MAX_TOP_LOGPROBS } from "./logprobs.ts";
import { countOutputRows, countRows } from "./runs.ts";
import type { RowRun, StageInput } from "./types.ts";

export interface InputLimits {
  readonly parallel: number;
  readonly contextTokens: number;
  readonly maxRows: number;
  readonly nEmbd: number;
  /** Tokens of the vocabulary where the stage holds the head. @default 0 = it has none */
  readonly nVocab?: number;
  /** Rows come as hidden states (the stage does not hold unit 0). */
  readonly wantsHidden: boolean;
  /** Only output rows come (the stage holds nothing but the head). */
  readonly outputRowsOnly: boolean;
}

/** What a stage holds in its slots. */
export interface HeldPositions {
  /** Position that an open slot must go on from; undefined for one that is not open. */
  next(slot: number): number | undefined;
  /** Positions that a slot holds, open or kept. */
  held(slot: number): number;
}

/**
 * Checks a micro-batch before anything reaches the engine, which would abort the process on some of these.
 *
 * @throws NoodleError `SESSION_NOT_FOUND`, `STEP_OUT_OF_ORDER`, `CONTEXT_EXCEEDED`, `FRAME_INVALID`
 */
export function checkInput(input: StageInput, limits: InputLimits, slots: HeldPositions): void {
  const taken = new Set<number>();
  for (const run of input.runs) {
    checkRun(run, limits, slots);
    if (taken.has(run.slot)) throw invalid(`slot ${run.slot} has two runs in one micro-batch`);
    taken.add(run.slot);
  }
  const rows = countRows(input.runs);
  const pads = input.pads ?? [];
  if (rows === 0 || rows + pads.length > limits.maxRows)
    throw invalid(`micro-batch of ${rows} rows and ${pads.length} dummy rows, the limit is ${limits.maxRows}`);
  for (const slot of pads) {
    checkPad(slot, limits, slots);
    if (taken.has(slot)) throw invalid(`slot ${slot} shall take a dummy row and has a run, or another one`);
    taken.add(slot);
  }
  if (input.tokens.length !== rows) throw invalid(`${input.tokens.length} tokens for ${rows} rows`);
  checkHidden(input, rows, limits);
  if ((limits.nVocab ?? 0) > 0) checkFollowingTokens(input, limits.nVocab ?? 0);
}

function checkRun(run: RowRun, limits: InputLimits, slots: HeldPositions): void {
  const next = run.slot < limits.parallel ? slots.next(run.slot) : undefined;
  if (next === undefined)
    throw new NoodleError("SESSION_NOT_FOUND", `slot ${run.slot} is not open (0..${limits.parallel - 1}, --parallel)`);
  if (!Number.isInteger(run.rows) || run.rows < 1) throw invalid(`run of ${run.rows} rows`);
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
  const top = run.topLogprobs ?? 0;
  if (!Number.isInteger(top) || top < 0 || top > MAX_TOP_LOGPROBS)
    throw invalid(`${top} log-probabilities of a row, the limit is ${MAX_TOP_LOGPROBS}`);
}

function checkPad(slot: number, limits: InputLimits, slots: HeldPositions): void {
  if (!Number.isInteger(slot) || slot < 0 || slot >= limits.parallel)
    throw invalid(`dummy row in slot ${slot}, there are 0..${limits.parallel - 1} (--parallel)`);
  if (slots.held(slot) >= limits.contextTokens)
    throw invalid(`dummy row in slot ${slot}, whose context of ${limits.contextTokens} tokens is full (--context)`);
}

function checkHidden(input: StageInput, rows: number, limits: InputLimits): void {
  if (!limits.wantsHidden) {
    if (input.hidden !== null) throw invalid("hidden states sent to the stage that holds the embedding");
    return;
  }
  const hiddenRows = limits.outputRowsOnly ? input.runs.reduce((sum, run) => sum + countOutputRows(run), 0) : rows;
  if (input.hidden === null || input.hidden.length !== hiddenRows * limits.nEmbd)
    throw invalid(`${input.hidden?.length ?? 0} hidden values, ${hiddenRows} rows of ${limits.nEmbd} were expected`);
}

/** Tokens whose log-probability is read from a row of logits. */
function checkFollowingTokens(input: StageInput, nVocab: number): void {
  let row = 0;
  for (const { rows, following = null, topLogprobs = null } of input.runs) {
    const read = topLogprobs === null ? [] : Array.from(input.tokens.subarray(row, row + rows));
    if (following !== null) read.push(following);
    const wrong = read.find((token) => !Number.isInteger(token) || token < 0 || token >= nVocab);
    if (wrong !== undefined) throw invalid(`token ${wrong}, the vocabulary has 0..${nVocab - 1}`);
    row += rows;
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

function invalid(message: string): NoodleError {
  return new NoodleError("FRAME_INVALID", message);
}
