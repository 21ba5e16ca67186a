import type { Phase } from "../observe/index.ts";
import type { RowRun } from "./types.ts";

/** Rows of a run whose logits are wanted. */
export function countOutputRows(run: Pick<RowRun, "rows" | "output">): number {
  return run.output === "all" ? run.rows : run.output === "last" ? 1 : 0;
}

export function countRows(runs: readonly Pick<RowRun, "rows">[]): number {
  return runs.reduce((sum, run) => sum + run.rows, 0);
}

/** A micro-batch, or a part of it, in two words. */
export function describeCall(runs: readonly Pick<RowRun, "rows" | "position">[]): {
  readonly phase: Phase;
  readonly contextTokens: number;
} {
  return {
    phase: runs.every((run) => run.rows === 1) ? "decode" : "prefill",
    contextTokens: runs.reduce((most, run) => Math.max(most, run.position + run.rows), 0),
  };
}

/** @returns index of the first NaN or infinity, or -1. */
export function findNonFinite(values: Float32Array): number {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < bits.length; i++) {
    if (((bits[i] as number) & 0x7f800000) === 0x7f800000) return i;
  }
  return -1;
}
