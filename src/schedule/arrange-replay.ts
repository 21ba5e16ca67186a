import { NoodleError } from "../common/index.ts";
import { type CallRow, stageClassKey } from "./call-class.ts";
import { type ComputedCall, splitCalls } from "./class-notes.ts";
import type { RowClasses } from "./row-classes.ts";
import type { ArrangedStep, ClassNotes, ComputedRun } from "./types.ts";

/** A step of a replay. */
export interface ReplayStep extends ArrangedStep {
  readonly position: number;
}

/** Rows of a call beyond which none is tried: no rule tells more apart. */
const MAX_CALL_ROWS = 64;

/**
 * The steps that compute a sequence again so that every position gets the class it had.
 *
 * @param stages row classes of every stage; without any, only the noted calls themselves will do
 * @param slot the sequence's own
 * @param slots of the pipeline; dummy rows stand in others than `slot`
 * @throws USAGE for notes that leave positions out, or a class that cannot be had here
 */
export function arrangeReplay(
  notes: ClassNotes,
  stages: readonly RowClasses[],
  slot: number,
  slots: number,
): readonly ReplayStep[] {
  const known = new Map<string, readonly number[] | null>();
  const steps: ReplayStep[] = [];
  let position = 0;
  for (const run of notes) {
    checkRun(run, position);
    for (const call of splitCalls(run)) steps.push(...arrangeCall(call, stages, slot, slots, known));
    position = run.position + run.rows;
  }
  return steps;
}

function arrangeCall(
  call: ComputedCall,
  stages: readonly RowClasses[],
  slot: number,
  slots: number,
  known: Map<string, readonly number[] | null>,
): readonly ReplayStep[] {
  const { position, rows, perCall: runRows } = call;
  if (rows > 1 && isAlikeAlone(call, stages)) return [{ position, rows, pads: [] }];
  return Array.from({ length: rows }, (_, index) => {
    const row = { callRows: call.callRows, place: call.place + index, runRows, endPosition: position + rows };
    const want = stageClassKey(stages, row);
    const alone = stageClassKey(stages, { callRows: 1, place: 0, runRows: 1, endPosition: position + index + 1 });
    const key = `${row.callRows}:${row.place}:${runRows}:${want}:${alone}`;
    let pads = known.get(key);
    if (pads === undefined) {
      pads = findPads(row, position + index + 1, stages, slot, slots);
      known.set(key, pads);
    }
    if (pads === null) {
      throw new NoodleError(
        "USAGE",
        `position ${position + index} was computed as row ${row.place} of ${row.callRows}; slot ${slot} of ${slots} cannot be given that class (--parallel)`,
        { details: { position: position + index, callRows: row.callRows, place: row.place } },
      );
    }
    return { position: position + index, rows: 1, pads };
  });
}

/** Whether the rows of a call have the same classes with nobody beside them. */
function isAlikeAlone(call: ComputedCall, stages: readonly RowClasses[]): boolean {
  const { position, rows, callRows, place, perCall } = call;
  if (callRows === rows && place === 0) return true;
  if (stages.length === 0) return false;
  const endPosition = position + rows;
  return Array.from({ length: rows }, (_, index) => index).every(
    (index) =>
      stageClassKey(stages, { callRows, place: place + index, runRows: perCall, endPosition }) ===
      stageClassKey(stages, { callRows: rows, place: index, runRows: rows, endPosition }),
  );
}

/** Neighbours for a single row: those that it had where they fit, else the fewest that give it its class. */
function findPads(
  row: CallRow,
  endPosition: number,
  stages: readonly RowClasses[],
  slot: number,
  slots: number,
): readonly number[] | null {
  const want = stageClassKey(stages, row);
  const fits = (callRows: number, place: number): boolean =>
    slot >= place &&
    slot - place + callRows <= slots &&
    ((row.runRows === 1 && callRows === row.callRows && place === row.place) ||
      (stages.length > 0 && stageClassKey(stages, { callRows, place, runRows: 1, endPosition }) === want));
  if (fits(row.callRows, row.place)) return padsAround(slot, row.callRows, row.place);
  for (let callRows = 1; callRows <= Math.min(slots, MAX_CALL_ROWS); callRows++) {
    for (let place = 0; place < callRows; place++) if (fits(callRows, place)) return padsAround(slot, callRows, place);
  }
  return null;
}

function padsAround(slot: number, callRows: number, place: number): readonly number[] {
  return Array.from({ length: callRows }, (_, index) => slot - place + index).filter((other) => other !== slot);
}

/** Notes come from outside: what they say must make sense before anything is made of it. */
function checkRun({ position, rows, callRows, place, perCall = rows }: ComputedRun, expected: number): void {
  const whole = [position, rows, callRows, place, perCall].every((value) => Number.isInteger(value) && value >= 0);
  if (!whole || position !== expected || rows < 1 || perCall < 1 || place >= callRows) {
    throw new NoodleError(
      "USAGE",
      `notes of ${rows} rows from position ${position}, at place ${place} of ${callRows}, do not follow position ${expected}`,
    );
  }
}
