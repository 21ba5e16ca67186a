import type { Cell } from "./cells.ts";

export interface EstimateFacts {
  /** Read by every step. */
  readonly weightsBytes: number;
  readonly kvBytesPerToken: number;
}

export interface MeasuredStep {
  readonly cell: Cell;
  readonly stepMs: number;
}

/** What a further row of a step costs, in first rows: more where rows decode, less where they share a product. */
const ROW_COST = { decode: 0.5, prefill: 0.2 } as const;

/**
 * A guess at the time of a cell's step, for planning only: the nearest measured cell, scaled by how the work grows with
 * rows and context. Pure.
 *
 * @returns null when nothing was measured
 */
export function estimateStepMs(cell: Cell, measured: readonly MeasuredStep[], facts: EstimateFacts): number | null {
  let nearest: MeasuredStep | undefined;
  let nearestDistance = Number.POSITIVE_INFINITY;
  for (const step of measured) {
    const distance = distanceOf(cell, step.cell);
    if (distance < nearestDistance) [nearest, nearestDistance] = [step, distance];
  }
  if (nearest === undefined) return null;
  return (nearest.stepMs * workOf(cell, facts)) / workOf(nearest.cell, facts);
}

function distanceOf(a: Cell, b: Cell): number {
  const rows = Math.abs(Math.log2(a.rows / b.rows));
  const context = Math.abs(Math.log2((a.context + 256) / (b.context + 256)));
  return (a.phase === b.phase ? 0 : 4) + rows + context;
}

/** In steps of one row without context. */
function workOf({ phase, rows, context }: Cell, { weightsBytes, kvBytesPerToken }: EstimateFacts): number {
  const attention = (rows * context * kvBytesPerToken) / Math.max(1, weightsBytes);
  return 1 + ROW_COST[phase] * (rows - 1) + attention * (phase === "decode" ? 1 : ROW_COST.prefill);
}
