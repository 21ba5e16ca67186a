import { stageClassKey } from "./call-class.ts";
import { cutNotes, splitCalls } from "./class-notes.ts";
import type { RowClasses } from "./row-classes.ts";
import type { ClassNotes } from "./types.ts";

/**
 * How many of the first `tokens` positions can be reused where only those may that were computed as reading the prompt
 * afresh would compute them.
 *
 * @param promptRows of the prompt that goes on behind them; more than `tokens`
 * @param chunkRows chunks end at multiples of this
 */
export function countStrictReuse(
  notes: ClassNotes,
  tokens: number,
  promptRows: number,
  chunkRows: number,
  stages: readonly RowClasses[],
): number {
  const keyAfresh = (position: number): string => {
    const start = position - (position % chunkRows);
    const endPosition = Math.min(start + chunkRows, promptRows);
    const callRows = endPosition - start;
    return stageClassKey(stages, { callRows, place: position - start, runRows: callRows, endPosition });
  };
  const alike = countAlike(notes, tokens, stages, keyAfresh);
  // The chunk that goes on behind them has fewer rows than one from its beginning.
  const start = alike - (alike % chunkRows);
  const endPosition = Math.min(start + chunkRows, promptRows);
  if (alike === start) return alike;
  for (let position = alike; position < endPosition; position++) {
    const callRows = endPosition - alike;
    const row = { callRows, place: position - alike, runRows: callRows, endPosition };
    if (stageClassKey(stages, row) !== keyAfresh(position)) return start;
  }
  return alike;
}

function countAlike(
  notes: ClassNotes,
  tokens: number,
  stages: readonly RowClasses[],
  keyAfresh: (position: number) => string,
): number {
  let alike = 0;
  for (const call of notes.flatMap(splitCalls)) {
    const { callRows, place, perCall: runRows } = call;
    const endPosition = call.position + call.rows;
    for (let index = 0; index < call.rows; index++) {
      const position = call.position + index;
      if (position !== alike || position >= tokens) return alike;
      const row = { callRows, place: place + index, runRows, endPosition };
      if (stageClassKey(stages, row) !== keyAfresh(position)) return alike;
      alike += 1;
    }
  }
  return alike;
}

/**
 * How many of the first `tokens` positions can be reused and computed again from their notes: half of a call can not,
 * where its rows would have other classes without the rest.
 */
export function countRecordedReuse(notes: ClassNotes, tokens: number, stages: readonly RowClasses[]): number {
  const last = cutNotes(notes, tokens).at(-1);
  if (last === undefined) return 0;
  const { callRows, place, perCall = last.rows } = last;
  const endPosition = last.position + last.rows;
  const rows = last.rows % perCall;
  const isAlike = Array.from({ length: rows }, (_, index) => index).every(
    (index) =>
      stageClassKey(stages, { callRows, place: place + index, runRows: perCall, endPosition }) ===
      stageClassKey(stages, { callRows: rows, place: index, runRows: rows, endPosition }),
  );
  return isAlike ? endPosition : endPosition - rows;
}
