/** What grouping looks at in a run. */
export interface SlotRows {
  readonly slot: number;
  readonly rows: number;
}

/** Runs and dummy rows that one engine call computes, in ascending order of slots. */
export interface RunGroup {
  /** Indices into the runs that were grouped. */
  readonly runs: readonly number[];
  /** Where each run's first row stands among the rows of the call. */
  readonly places: readonly number[];
  /** Slots that take a dummy row each; only in calls of one-row runs. */
  readonly pads: readonly number[];
  /** Rows of the call, dummy rows included. */
  readonly rows: number;
}

/**
 * Splits the runs of a micro-batch into engine calls. With one KV stream per sequence, the engine computes in one go
 * only consecutive sequences with equal row counts, and would split anything else silently; every stage must form the
 * same calls, since a row's bits depend on how many rows it is computed with.
 *
 * @param pads slots with a dummy row each, none of them a run's: they join the calls of one-row runs beside them. One
 *   with no run beside it is left out, since nobody wants what it computes.
 */
export function groupRuns(runs: readonly SlotRows[], pads: readonly number[] = []): readonly RunGroup[] {
  const members = [
    ...runs.map(({ slot, rows }, run) => ({ slot, rows, run })),
    ...pads.map((slot) => ({ slot, rows: 1, run: -1 })),
  ].sort((a, b) => a.slot - b.slot);
  const groups: { runs: number[]; places: number[]; pads: number[]; rows: number }[] = [];
  let previous: SlotRows | undefined;
  for (const { slot, rows, run } of members) {
    const continues = previous !== undefined && slot === previous.slot + 1 && rows === previous.rows;
    let group = groups.at(-1);
    if (group === undefined || !continues) {
      group = { runs: [], places: [], pads: [], rows: 0 };
      groups.push(group);
    }
    if (run < 0) group.pads.push(slot);
    else {
      group.runs.push(run);
      group.places.push(group.rows);
    }
    group.rows += rows;
    previous = { slot, rows };
  }
  return groups.filter((group) => group.runs.length > 0);
}
