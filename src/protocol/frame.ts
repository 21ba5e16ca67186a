import { NoodleError } from "../common/index.ts";
import type { SessionId } from "./session-id.ts";

/**
 * How closely each stage looks at the step, in the order of their codes on the wire. What it sees goes to the
 * coordinator beside the step, never with it.
 */
export const FRAME_OBSERVE = ["off", "layer", "role", "node"] as const;

/** Bounds what the answer to one frame can hold. */
export const MAX_TOP_LOGPROBS = 100;

export type FrameObserve = (typeof FRAME_OBSERVE)[number];

/** Rows of a run whose logits are wanted. */
export type FrameOutput = "none" | "last" | "all";

/** Consecutive rows of one session inside a frame. */
export interface FrameRun {
  readonly sessionId: SessionId;
  /** A session's generation: raised when its owner rolls it back, so that late frames of the past are known. */
  readonly fence: number;
  readonly branch: number;
  /** Absolute position of the run's first row. */
  readonly position: number;
  /** At least 1. */
  readonly rows: number;
  /** KV sequence, the same on every stage. */
  readonly slot: number;
  readonly output: FrameOutput;
  /**
   * Alternatives whose log-probabilities are wanted with each output row's next token, at most MAX_TOP_LOGPROBS; null =
   * no log-probabilities.
   */
  readonly topLogprobs: number | null;
  /** Token behind the run's last row where the prompt goes on in another frame; null = the last row's is sampled. */
  readonly following: number | null;
}

/** What one stage spent on the step; each stage appends its own entry before it passes the frame on. */
export interface FrameTrace {
  readonly stage: number;
  readonly queueNs: number;
  readonly computeNs: number;
  readonly serializeNs: number;
  /** 0 = not yet known. */
  readonly hopNs: number;
  /** Length of the frame that came into the stage; at most 2^32 - 1. */
  readonly bytesIn: number;
}

/** One micro-batch on its way from a stage to the next. Numbers of 64 bits on the wire are safe integers here. */
export interface Frame {
  readonly epoch: number;
  readonly stepId: number;
  readonly observe: FrameObserve;
  readonly runs: readonly FrameRun[];
  readonly traces: readonly FrameTrace[];
  /**
   * Slots that take a dummy row in this micro-batch's calls, each once and none of a run; no rows of tokens or hidden
   * states belong to them.
   */
  readonly pads: readonly number[];
  /** i32[rows]: the token ids of all runs, in order. */
  readonly tokens: Int32Array;
  /** Values in a row of `hidden`; 0 when `hidden` is null. */
  readonly width: number;
  /** f32[hiddenRows, width], row-major; null before the first stage's work. */
  readonly hidden: Float32Array | null;
}

export interface FrameExpectation {
  readonly epoch: number;
  /** nEmbd of the model. */
  readonly width: number;
  /**
   * What must come in: nothing (the stage holds unit 0), a row for every token, or, behind the model's last block, a
   * row for every output row.
   */
  readonly hidden: "none" | "every-row" | "output-rows";
  /** Number of KV sequences: slots are 0 .. parallel-1. */
  readonly parallel: number;
  readonly maxRows: number;
}

/** Rows of a run that are outputs. */
function outputRowsOf(run: Pick<FrameRun, "rows" | "output">): number {
  return run.output === "all" ? run.rows : run.output === "last" ? 1 : 0;
}

/** Number of rows that travel behind the model's last block. */
export function countOutputRows(runs: readonly Pick<FrameRun, "rows" | "output">[]): number {
  let count = 0;
  for (const run of runs) count += outputRowsOf(run);
  return count;
}

/** @throws FRAME_INVALID when a slot would take two rows by being a pad */
export function checkPads(runs: readonly Pick<FrameRun, "slot">[], pads: readonly number[]): void {
  if (pads.length === 0) return;
  const taken = new Set(pads);
  if (taken.size !== pads.length) throw invalid("a slot is a pad twice");
  for (const { slot } of runs) if (taken.has(slot)) throw invalid(`slot ${slot} is a pad, and has a run`);
}

/**
 * Checks a frame against the plan of the stage that received it.
 *
 * @throws STALE_EPOCH when it belongs to another plan
 * @throws FRAME_INVALID when its shape is not what this stage takes
 */
export function checkFrameShape(frame: Frame, expected: FrameExpectation): void {
  if (frame.epoch !== expected.epoch) {
    throw new NoodleError("STALE_EPOCH", `frame of epoch ${frame.epoch}, this stage serves epoch ${expected.epoch}`, {
      details: { epoch: frame.epoch, haveEpoch: expected.epoch },
    });
  }
  const rows = frame.tokens.length;
  const { runs, pads } = frame;
  if (rows + pads.length > expected.maxRows) {
    throw invalid(`frame of ${rows} rows and ${pads.length} pads, the limit is ${expected.maxRows}`);
  }
  for (const { slot } of runs) requireSlot(slot, expected.parallel);
  for (const slot of pads) requireSlot(slot, expected.parallel);
  if (expected.hidden === "none") {
    if (frame.hidden !== null) throw invalid("the frame carries hidden states, this stage starts from tokens");
    return;
  }
  if (frame.hidden === null) throw invalid("the frame carries no hidden states, this stage needs them");
  if (frame.width !== expected.width) {
    throw invalid(`hidden states are ${frame.width} wide, the model is ${expected.width}`);
  }
  const wanted = expected.hidden === "every-row" ? rows : countOutputRows(runs);
  const got = frame.hidden.length / frame.width;
  if (got !== wanted) throw invalid(`the frame carries ${got} hidden rows, this stage needs ${wanted}`);
}

function requireSlot(slot: number, parallel: number): void {
  if (slot >= parallel) throw invalid(`slot ${slot} does not exist, the stage has ${parallel} (--parallel)`);
}

function invalid(message: string): NoodleError {
  return new NoodleError("FRAME_INVALID", message);
}
