import { classKey, type RowClasses } from "./row-classes.ts";

/** One row of an engine call, and how far the call's sequence reaches. */
export interface CallRow {
  readonly callRows: number;
  readonly place: number;
  /** Rows of the call that are the sequence's own: 1 in a call of decode rows, however many sequences it has. */
  readonly runRows: number;
  /** Positions of the sequence when the call is done. */
  readonly endPosition: number;
}

/** The class of a row on all stages at once: equal keys mean equal bits for equal content. "" where nothing is known. */
export function stageClassKey(
  stages: readonly RowClasses[],
  { callRows, place, runRows, endPosition }: CallRow,
): string {
  const keys = stages.map((classes) => {
    const { cellStep } = classes.attention;
    const cells = Math.ceil(endPosition / cellStep) * cellStep;
    return classKey(classes, { rows: callRows, place, runRows, cells, threads: classes.threads });
  });
  return keys.join(" ");
}
