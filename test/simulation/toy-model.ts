/**
 * The arithmetic of a simulated model. The state behind a position is a hash of everything before it: of each token, of
 * the row class in which each position was computed, and of nothing else. A position that is lost, doubled, out of order
 * or computed in another class changes every token behind it.
 */
import { must } from "../../src/common/index.ts";
import type { StageInput } from "../../src/engine/index.ts";
import type { ClassNotes } from "../../src/schedule/index.ts";

export const TOY = { blocks: 3, units: 5, vocabulary: 89, width: 2 } as const;

/** What a row's class depends on, as an engine measures it. */
export interface ToyRules {
  /** Class 1 in calls of so many rows; 0 = never. */
  readonly rowsAtLeast: number;
  /** Class 1 in full groups of so many rows; 0 = never. */
  readonly group: number;
  /** Attention takes another kernel in runs of so many rows; 0 = never. */
  readonly tiledRows: number;
}

export interface ToyRow {
  readonly callRows: number;
  readonly place: number;
  readonly runRows: number;
}

/** Said independently of the schedule's own class keys. */
export function toyClass(rules: ToyRules, { callRows, place, runRows }: ToyRow): number {
  const many = rules.rowsAtLeast > 0 && callRows >= rules.rowsAtLeast ? 1 : 0;
  const whole = rules.group > 0 && place < callRows - (callRows % rules.group) ? 2 : 0;
  const tiled = rules.tiledRows > 0 && runRows >= rules.tiledRows ? 4 : 0;
  return many + whole + tiled;
}

/** The rules as a worker's probe would report them. */
export function describeRules({ rowsAtLeast, group, tiledRows }: ToyRules, threads: number): string {
  const weights = [
    { type: "q8_0", experts: false, rule: rowsAtLeast === 0 ? { kind: "uniform" } : atLeast(rowsAtLeast) },
    { type: "q4_0", experts: false, rule: group === 0 ? { kind: "uniform" } : { kind: "full-groups", group } },
  ];
  const attention = { tiledRows: tiledRows === 0 ? null : tiledRows, splitCells: null, cellStep: 256 };
  const identity = { engine_build: "toy", cpu_variant: "toy", threads, probe_ms: 1 };
  return JSON.stringify({ schema: "noodle.row_classes.v1", ...identity, weights, attention });
}

function atLeast(rows: number): object {
  return { kind: "rows-at-least", rows };
}

export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}

export function embed(token: number): number {
  return mix(token + 1, 77);
}

/** A block's cell of a position. @param before the block's cell of the position before it; 0 at the first */
export function computeCell(before: number, incoming: number, block: number, rowClass: number): number {
  return mix(mix(before, incoming), block * 8 + rowClass);
}

/** What leaves a block, from its cell and what came in. */
export function leave(incoming: number, cell: number): number {
  return mix(incoming, cell);
}

export function chooseToken(outcome: number, seed: number, position: number): number {
  return mix(outcome, mix(seed, position)) % TOY.vocabulary;
}

/** Both halves of a state as two numbers that f32 carries exactly. */
export function toHidden(state: number): [number, number] {
  return [state & 0xffff, state >>> 16];
}

export function fromHidden(low: number, high: number): number {
  return ((high << 16) | low) >>> 0;
}

/** The tokens that follow a prompt where its positions were computed as the notes say, and theirs. */
export function followNotes(
  prompt: readonly number[],
  seed: number,
  count: number,
  notes: ClassNotes,
  rules: ToyRules,
): readonly number[] {
  const classes = listClasses(notes, rules);
  const tokens = [...prompt];
  const cells = Array.from({ length: TOY.blocks }, () => 0);
  for (let position = 0; tokens.length < prompt.length + count; position++) {
    let state = embed(tokens[position] ?? 0);
    for (const [block, before] of cells.entries()) {
      const cell = computeCell(before, state, block, classes[position] ?? -1);
      cells[block] = cell;
      state = leave(state, cell);
    }
    if (position === tokens.length - 1) tokens.push(chooseToken(state, seed, position + 1));
  }
  return tokens.slice(prompt.length);
}

function listClasses(notes: ClassNotes, rules: ToyRules): readonly number[] {
  const classes: number[] = [];
  for (const { rows, callRows, place, perCall = rows } of notes) {
    for (let index = 0; index < rows; index++) {
      classes.push(toyClass(rules, { callRows, place: place + (index % perCall), runRows: perCall }));
    }
  }
  return classes;
}

/** Which rows are computed together: neighbouring slots with equally many rows. Said independently of the schedule. */
export function placeRows({
  runs,
  pads = [],
}: StageInput): readonly { readonly callRows: number; readonly place: number }[] {
  const members = runs.map(({ slot, rows }, index) => ({ slot, rows, index }));
  for (const slot of pads) members.push({ slot, rows: 1, index: -1 });
  members.sort((a, b) => a.slot - b.slot);
  const places: { callRows: number; place: number }[] = [];
  for (let from = 0; from < members.length; ) {
    const first = must(members[from], "member");
    let to = from + 1;
    while (members[to]?.slot === first.slot + to - from && members[to]?.rows === first.rows) to += 1;
    const callRows = (to - from) * first.rows;
    for (let at = from; at < to; at++) {
      const { index } = must(members[at], "member");
      if (index >= 0) places[index] = { callRows, place: (at - from) * first.rows };
    }
    from = to;
  }
  return places;
}
