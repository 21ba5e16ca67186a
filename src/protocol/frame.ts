import { NoodleError } from "../common/index.ts";
import type { SessionId } from "./session-id.ts";

/**
 * How closely each stage looks at the step, in the order of their codes on the wire. What it sees goes to the
 * coordinator beside the step, never with it.
 */
export const FRAME_OBSERVE = ["off", "layer", "role", "node"] as const;

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
  if (rows > expected.maxRows) {
    throw invalid(`frame of ${rows} rows, the limit is ${expected.maxRows}`);
  }
  for (const run of frame.runs) {
    if (run.slot >= expected.parallel) {
      throw invalid(`slot ${run.slot} does not exist, the stage has ${expected.parallel} (--parallel)`);
    }
  }
  if (expected.hidden === "none") {
    if (frame.hidden !== null) throw invalid("the frame carries hidden states, this stage starts from tokens");
    return;
  }
  if (frame.hidden === null) throw invalid("the frame carries no hidden states, this stage needs them");
  if (frame.width !== expected.width) {
    throw invalid(`hidden states are ${frame.width} wide, the model is ${expected.width}`);
  }
  const wanted = expected.hidden === "every-row" ? rows : countOutputRows(frame.runs);
  const got = frame.hidden.length / frame.width;
  if (got !== wanted) throw invalid(`the frame carries ${got} hidden rows, this stage needs ${wanted}`);
}

function invalid(message: string): NoodleError {
  return new NoodleError("FRAME_INVALID", message);
}
