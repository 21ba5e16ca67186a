import { classOfRow, type RowClasses, type RowRule } from "./row-classes.ts";

/** How decode rows are computed so that each has the same class whatever runs beside it. */
export interface StrictShape {
  /** Slots of a block. */
  readonly align: number;
  /** Most rows of a call; null = any number. */
  readonly maxRows: number | null;
  /** Cells from which on a lone row needs company; null = never. */
  readonly pairFromCells: number | null;
}

/** Calls of decode rows are not longer than this where attention would take another kernel for them. */
const MAX_TABLE_ROWS = 64;

/** A class that begins with more rows than this is stayed below, not padded up to. */
const MOST_PADDED_ROWS = 4;

/**
 * The shape of strict decode calls on these stages.
 *
 * @param stages row classes of every stage; without any, rows are taken not to depend on one another
 * @param slots of the pipeline; blocks are never longer
 */
export function chooseStrictShape(stages: readonly RowClasses[], slots: number): StrictShape {
  const rules = stages.flatMap(({ weights }) => weights.map(({ rule }) => rule));
  const capped = joinRules(rules.map((rule) => shapeOf(rule, slots, true)));
  // Blocks that are longer than the cap: then all rules are met by padding.
  const shape =
    capped.maxRows !== null && capped.align > capped.maxRows
      ? joinRules(rules.map((rule) => shapeOf(rule, slots, false)))
      : capped;
  let { maxRows } = shape;
  let pairFromCells: number | null = null;
  for (const { attention, threads } of stages) {
    const { tiledRows, splitCells, cellStep } = attention;
    if (tiledRows !== null) maxRows = Math.min(maxRows ?? tiledRows - 1, tiledRows - 1);
    if (splitCells === null || threads === 1) continue;
    // Cells are rounded up to whole steps.
    const from = Math.max(1, splitCells - cellStep + 1);
    pairFromCells = Math.min(pairFromCells ?? from, from);
  }
  if (shape.align <= slots) return { align: shape.align, maxRows, pairFromCells };
  const align = findLoneBlock(rules, Math.min(slots, maxRows ?? slots));
  return { align, maxRows: align, pairFromCells };
}

/** The longest block that, computed by itself, has one class for all its rows; one row has. */
function findLoneBlock(rules: readonly RowRule[], slots: number): number {
  const isEven = (rows: number): boolean =>
    rules.every((rule) => {
      const first = classOfRow(rule, rows, 0);
      return (
        first >= 0 &&
        Array.from({ length: rows }, (_, place) => classOfRow(rule, rows, place)).every((own) => own === first)
      );
    });
  for (let rows = slots; rows > 1; rows--) if (isEven(rows)) return rows;
  return 1;
}

interface RuleShape {
  readonly align: number;
  readonly maxRows: number | null;
}

function shapeOf(rule: RowRule, slots: number, mayCap: boolean): RuleShape {
  switch (rule.kind) {
    case "uniform":
      return { align: 1, maxRows: null };
    case "full-groups":
      return { align: rule.group, maxRows: null };
    case "rows-at-least":
      return mayCap && rule.rows > MOST_PADDED_ROWS
        ? { align: 1, maxRows: rule.rows - 1 }
        : { align: rule.rows, maxRows: null };
    case "table":
      return { align: alignOfTable(rule, slots), maxRows: null };
    default:
      return rule satisfies never;
  }
}

/** The smallest block of which every number of blocks was measured, with one class for all their rows; else too long. */
function alignOfTable(rule: RowRule, slots: number): number {
  for (let align = 1; align <= slots; align++) {
    const classes = new Set<number>();
    for (let rows = align; rows <= Math.min(slots, MAX_TABLE_ROWS); rows += align) {
      for (let place = 0; place < rows; place++) classes.add(classOfRow(rule, rows, place));
    }
    if (classes.size === 1 && !classes.has(-1)) return align;
  }
  return slots + 1;
}

function joinRules(shapes: readonly RuleShape[]): RuleShape {
  let align = 1;
  let maxRows: number | null = null;
  for (const shape of shapes) {
    align = leastCommonMultiple(align, shape.align);
    if (shape.maxRows !== null) maxRows = Math.min(maxRows ?? shape.maxRows, shape.maxRows);
  }
  return { align, maxRows };
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
