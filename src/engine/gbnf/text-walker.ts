import type { GrammarState, GrammarStep, StackTable } from "./stack-table.ts";

/** Where bytes stand in a grammar: behind a whole character, or inside one. */
export interface TextPlace {
  readonly state: GrammarState;
  /** Bytes that the character still lacks; 0 = whole. */
  readonly missing: number;
  /** Its bits so far, and the smallest code point that is written with so many bytes. */
  readonly value: number;
  readonly least: number;
}

/** A step's worth of work is told to `onStep`, once for each step taken. */
export type StepWatcher = (step: GrammarStep) => void;

const LAST_CODE_POINT = 0x10ffff;

/** @returns where the text stands behind one more byte; null where it does not fit, or is not UTF-8. */
export function walkByte(table: StackTable, place: TextPlace, byte: number, onStep?: StepWatcher): TextPlace | null {
  const { state, missing, value, least } = place;
  if (missing > 0) {
    if (byte >> 6 !== 2) return null;
    const point = (value << 6) | (byte & 0x3f);
    if (missing > 1) return { state, missing: missing - 1, value: point, least };
    const isSurrogate = point >= 0xd800 && point <= 0xdfff;
    return point < least || point > LAST_CODE_POINT || isSurrogate ? null : walkPoint(table, state, point, onStep);
  }
  if (byte < 0x80) return walkPoint(table, state, byte, onStep);
  if (byte < 0xc2 || byte > 0xf4) return null;
  if (byte < 0xe0) return { state, missing: 1, value: byte & 0x1f, least: 0x80 };
  if (byte < 0xf0) return { state, missing: 2, value: byte & 0x0f, least: 0x800 };
  return { state, missing: 3, value: byte & 0x07, least: 0x10000 };
}

/** @returns whether the text may stand there: a character that has begun can become one that fits. */
export function canStand(table: StackTable, { state, missing, value, least }: TextPlace): boolean {
  if (missing === 0) return true;
  const first = Math.max(least, value * 64 ** missing);
  const last = Math.min(LAST_CODE_POINT, (value + 1) * 64 ** missing - 1);
  return first <= last && table.fitsRange(state, first, last);
}

function walkPoint(table: StackTable, state: GrammarState, point: number, onStep?: StepWatcher): TextPlace | null {
  const step = table.step(state, point);
  onStep?.(step);
  return step.state === null ? null : { state: step.state, missing: 0, value: 0, least: 0 };
}
