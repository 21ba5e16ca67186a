import type { Phase } from "../observe/index.ts";

/**
 * What a profile's cost model says a stage computes for one step, in milliseconds; null where it says nothing.
 *
 * @param units `A:B`
 * @param context positions in the KV before the step
 */
export type PredictStageMs = (units: string, phase: Phase, rows: number, context: number) => number | null;

const WINDOW = 64;

/** Measured over predicted, both summed over the last steps that were compared. */
export class DriftWindow {
  readonly #measured = new Float64Array(WINDOW);
  readonly #predicted = new Float64Array(WINDOW);
  #count = 0;

  add(measuredMs: number, predictedMs: number): void {
    const at = this.#count % WINDOW;
    this.#measured[at] = measuredMs;
    this.#predicted[at] = predictedMs;
    this.#count += 1;
  }

  /** Null before the first comparison. */
  ratio(): number | null {
    const predicted = sum(this.#predicted);
    return predicted > 0 ? sum(this.#measured) / predicted : null;
  }
}

function sum(values: Float64Array): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}
