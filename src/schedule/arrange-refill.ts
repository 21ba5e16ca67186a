import { arrangeReplay, type ReplayStep } from "./arrange-replay.ts";
import { stageClassKey } from "./call-class.ts";
import { splitCalls } from "./class-notes.ts";
import type { RowClasses } from "./row-classes.ts";
import type { ClassNotes } from "./types.ts";

/** Rows of the steps that are tried. One that is a little longer than another saves nothing. */
const TRIED_ROWS = [32, 16, 8, 4, 3, 2];

/** Matrix kernels take rows by as many. */
const ROW_GROUP = 4;

/**
 * The steps that compute a sequence again whose tokens are all known: every position gets the class that it had, in few
 * steps where the classes allow it. The last step is as it was noted, since logits may be wanted of it.
 *
 * @param maxRows of one step
 * @throws USAGE as `arrangeReplay`
 */
export function arrangeRefill(
  notes: ClassNotes,
  stages: readonly RowClasses[],
  slot: number,
  slots: number,
  maxRows: number,
): readonly ReplayStep[] {
  const noted = arrangeReplay(notes, stages, slot, slots);
  const last = noted.at(-1);
  if (last === undefined || stages.length === 0) return noted;
  const merge = new StepMerge(notes, stages);
  const tried = [maxRows, ...joinedRows(stages), ...TRIED_ROWS].filter((rows) => rows <= maxRows);
  // By position: which noted step begins there.
  const begins = new Map(noted.map((step, index) => [step.position, index]));
  const steps: ReplayStep[] = [];
  for (let index = 0; index < noted.length - 1; ) {
    const step = noted[index] as ReplayStep;
    const { position } = step;
    const rows = tried.find(
      (count) => count > step.rows && begins.has(position + count) && merge.isAlike(position, count),
    );
    steps.push(rows === undefined ? step : { position, rows, pads: [] });
    index = rows === undefined ? index + 1 : (begins.get(position + rows) ?? noted.length);
  }
  return [...steps, last];
}

/** The longest calls below those for which attention takes another kernel. */
function joinedRows(stages: readonly RowClasses[]): readonly number[] {
  return stages.flatMap(({ attention: { tiledRows } }) =>
    tiledRows === null || tiledRows <= ROW_GROUP ? [] : [tiledRows - 1 - ((tiledRows - 1) % ROW_GROUP)],
  );
}

/** Says which positions one call can compute with the classes that they had. */
class StepMerge {
  readonly #stages: readonly RowClasses[];
  /** By position. */
  readonly #had: readonly string[];
  /** By rows of a call. */
  readonly #given = new Map<number, readonly string[]>();

  constructor(notes: ClassNotes, stages: readonly RowClasses[]) {
    this.#stages = stages;
    this.#had = notes
      .flatMap(splitCalls)
      .flatMap(({ position, rows, callRows, place, perCall: runRows }) =>
        Array.from({ length: rows }, (_, index) =>
          stageClassKey(stages, { callRows, place: place + index, runRows, endPosition: position + rows }),
        ),
      );
  }

  isAlike(position: number, rows: number): boolean {
    let given = this.#given.get(rows);
    if (given === undefined) {
      // Only that of a lone row depends on how far its sequence reaches.
      given = Array.from({ length: rows }, (_, place) =>
        stageClassKey(this.#stages, { callRows: rows, place, runRows: rows, endPosition: rows }),
      );
      this.#given.set(rows, given);
    }
    return given.every((key, index) => key === this.#had[position + index]);
  }
}
