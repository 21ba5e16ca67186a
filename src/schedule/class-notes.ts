import { groupRuns } from "./group-runs.ts";
import type { ClassNotes, ComputedRun } from "./types.ts";

/** Where a run stood in its engine call. */
export interface CallPlace {
  readonly callRows: number;
  /** Of the run's first row. */
  readonly place: number;
}

/**
 * How the runs of a micro-batch are computed, in their order: the rule of the engine, worked out from slots alone.
 *
 * @param pads slots that take a dummy row each
 */
export function placeRuns(
  runs: readonly { readonly slot: number; readonly rows: number }[],
  pads: readonly number[],
): readonly CallPlace[] {
  const places: CallPlace[] = [];
  for (const group of groupRuns(runs, pads)) {
    for (const [index, run] of group.runs.entries()) {
      places[run] = { callRows: group.rows, place: group.places[index] ?? 0 };
    }
  }
  return places;
}

/** Collects how a sequence's positions are computed; equal calls one behind another take one entry. */
export class ClassNotesBuilder {
  readonly #runs: ComputedRun[];

  /** @param notes of positions that are there already */
  constructor(notes: ClassNotes = []) {
    this.#runs = [...notes];
  }

  add(position: number, rows: number, { callRows, place }: CallPlace): void {
    const last = this.#runs.at(-1);
    const perCall = last?.perCall ?? last?.rows;
    const alike =
      last !== undefined &&
      last.position + last.rows === position &&
      last.callRows === callRows &&
      last.place === place &&
      perCall === rows &&
      last.rows % rows === 0;
    if (alike) this.#runs[this.#runs.length - 1] = { ...last, rows: last.rows + rows, perCall: rows };
    else this.#runs.push({ position, rows, callRows, place });
  }

  build(): ClassNotes {
    return [...this.#runs];
  }
}

/** The notes of the first `tokens` positions. */
export function cutNotes(notes: ClassNotes, tokens: number): ClassNotes {
  return notes.flatMap((run) => {
    const rows = Math.min(run.rows, tokens - run.position);
    if (rows <= 0) return [];
    return rows === run.rows ? [run] : [{ ...run, rows, perCall: run.perCall ?? run.rows }];
  });
}

/** A single call; `perCall` are the positions that it had, `rows` those that are told. */
export type ComputedCall = ComputedRun & { readonly perCall: number };

/** The single calls that an entry stands for. A last one that was cut is told as far as it goes. */
export function splitCalls(run: ComputedRun): readonly ComputedCall[] {
  const { callRows, place } = run;
  const perCall = run.perCall ?? run.rows;
  const calls: ComputedCall[] = [];
  for (let done = 0; done < run.rows; done += perCall) {
    const rows = Math.min(perCall, run.rows - done);
    calls.push({ position: run.position + done, rows, callRows, place, perCall });
  }
  return calls;
}
