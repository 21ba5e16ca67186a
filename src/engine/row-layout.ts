import { countOutputRows } from "./runs.ts";
import type { RowRun } from "./types.ts";

/** Where each run's rows lie in the micro-batch's tokens, incoming hidden rows and outgoing hidden rows. */
export class RowLayout {
  readonly outRows: number;
  readonly #runs: readonly RowRun[];
  readonly #inRows: readonly number[];
  readonly #outRows: readonly number[];
  readonly #nEmbd: number;

  constructor(runs: readonly RowRun[], nEmbd: number, headOnly: boolean, endsBlocks: boolean) {
    this.#runs = runs;
    this.#nEmbd = nEmbd;
    this.#inRows = runs.map((run) => (headOnly ? countOutputRows(run) : run.rows));
    this.#outRows = runs.map((run) => (endsBlocks ? countOutputRows(run) : run.rows));
    this.outRows = sumBefore(this.#outRows, runs.length);
  }

  inRowsOf(run: number): number {
    return this.#inRows[run] as number;
  }

  outRowsOf(run: number): number {
    return this.#outRows[run] as number;
  }

  inOffset(run: number): number {
    return sumBefore(this.#inRows, run) * this.#nEmbd;
  }

  outOffset(run: number): number {
    return sumBefore(this.#outRows, run) * this.#nEmbd;
  }

  tokensOf(run: number, tokens: Int32Array): Int32Array {
    const start = this.#runs.slice(0, run).reduce((sum, each) => sum + each.rows, 0);
    return tokens.subarray(start, start + (this.#runs[run] as RowRun).rows);
  }
}

function sumBefore(counts: readonly number[], end: number): number {
  let sum = 0;
  for (let i = 0; i < end; i++) sum += counts[i] as number;
  return sum;
}
