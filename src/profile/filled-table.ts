import { must } from "../common/index.ts";
import type { Phase } from "../observe/index.ts";
import type { CostTable } from "./types.ts";

/**
 * The times of one class of units over a grid of rows and contexts, every cell filled: what was not measured is
 * estimated from what was.
 *
 * Context costs in proportion to the rows (each row reads its own), so a missing cell is the measured one of the same
 * rows plus what the context added elsewhere, times the ratio of rows: `t(R, c) + R/r (t(r, C) - t(r, c))`.
 */
export class FilledTable {
  readonly rows: readonly number[];
  readonly contexts: readonly number[];
  readonly #ms: number[][];
  readonly #measured: boolean[][];
  readonly #phase: Phase;

  /** @param table has at least one measured cell. */
  constructor(table: CostTable, phase: Phase) {
    this.rows = table.rows;
    this.contexts = table.contexts;
    this.#phase = phase;
    this.#measured = table.ms.map((line) => line.map((cell) => cell !== null));
    this.#ms = fillCells(table);
  }

  /**
   * Bilinear between the four cells around. Outside it goes on with the slope of the last two cells, never falling;
   * with a single cell along an axis, in proportion to the rows, and not at all with the context. A decode step of
   * fewer rows than the fewest measured costs at most as much and at least in proportion.
   */
  predict(rows: number, context: number): { readonly ms: number; readonly extrapolated: boolean } {
    const row = locate(this.rows, rows);
    const column = locate(this.contexts, context);
    const used = [row.low, row.high].flatMap((i) =>
      [column.low, column.high].map((j) => this.#measured[i]?.[j] === true),
    );
    const [low, high] = [row.low, row.high].map((i) => this.#along(i, column, context)) as [number, number];
    const [lowRows, highRows] = [at(this.rows, row.low), at(this.rows, row.high)];
    const ms = this.#acrossRows(rows, [lowRows, low], [highRows, high]);
    return { ms, extrapolated: row.outside || column.outside || used.includes(false) };
  }

  /** Time at grid row `i` and any context. */
  #along(i: number, column: Location, context: number): number {
    const line = must(this.#ms[i], "line");
    const [low, high] = [at(line, column.low), at(line, column.high)];
    const [from, to] = [at(this.contexts, column.low), at(this.contexts, column.high)];
    if (from === to) return low;
    const slope = (high - low) / (to - from);
    if (context > to) return high + Math.max(0, slope) * (context - to);
    if (context < from) return Math.max(low - Math.max(0, slope) * (from - context), low * SMALLEST_SHARE);
    return low + slope * (context - from);
  }

  #acrossRows(rows: number, [from, low]: [number, number], [to, high]: [number, number]): number {
    if (rows >= from && rows <= to) return from === to ? low : low + ((high - low) / (to - from)) * (rows - from);
    if (from === to) {
      const proportional = (low * rows) / from;
      return rows < from && this.#phase === "decode" ? (low + proportional) / 2 : proportional;
    }
    const slope = Math.max(0, (high - low) / (to - from));
    return rows > to ? high + slope * (rows - to) : Math.max(low - slope * (from - rows), (low * rows) / from);
  }
}

/** Before the first context measured, a time does not fall below so much of it. */
const SMALLEST_SHARE = 0.1;

interface Location {
  readonly low: number;
  readonly high: number;
  readonly outside: boolean;
}

/** The two places of an axis that a value is predicted from: around it, or the nearest two. */
function locate(axis: readonly number[], value: number): Location {
  const last = axis.length - 1;
  const exact = axis.indexOf(value);
  if (exact >= 0) return { low: exact, high: exact, outside: false };
  if (last === 0) return { low: 0, high: 0, outside: true };
  const behind = axis.findIndex((place) => place > value);
  if (behind === 0) return { low: 0, high: 1, outside: true };
  if (behind < 0) return { low: last - 1, high: last, outside: true };
  return { low: behind - 1, high: behind, outside: false };
}

function fillCells({ rows, contexts, ms }: CostTable): number[][] {
  let cells: (number | null)[][] = ms.map((line) => [...line]);
  // Every pass fills at least the neighbours of what is known; so many passes reach every corner.
  for (let pass = 0; pass <= rows.length + contexts.length && cells.some((line) => line.includes(null)); pass++) {
    const known = cells;
    cells = known.map((line, i) => line.map((cell, j) => cell ?? estimateCell(rows, contexts, known, i, j)));
  }
  return cells.map((line) => line.map((cell) => must(cell, "filled cell")));
}

function estimateCell(
  rows: readonly number[],
  contexts: readonly number[],
  known: readonly (readonly (number | null)[])[],
  i: number,
  j: number,
): number | null {
  const line = known[i] ?? [];
  const columns = sortByDistance(contexts, j).filter((column) => typeof line[column] === "number");
  const lines = sortByDistance(rows, i).filter((other) => typeof known[other]?.[j] === "number");
  for (const other of lines) {
    for (const column of columns) {
      const corner = known[other]?.[column];
      if (typeof corner !== "number") continue;
      const grown = (at(known[other], j) - corner) * (at(rows, i) / at(rows, other));
      const base = at(line, column);
      return at(contexts, j) > at(contexts, column)
        ? base + Math.max(0, grown)
        : Math.max(base + grown, base * SMALLEST_SHARE);
    }
  }
  const nearestColumn = columns[0];
  if (nearestColumn !== undefined) return at(line, nearestColumn);
  const nearestLine = lines[0];
  if (nearestLine === undefined) return null;
  return at(known[nearestLine], j) * (at(rows, i) / at(rows, nearestLine));
}

function sortByDistance(axis: readonly number[], place: number): number[] {
  const value = at(axis, place);
  return axis
    .map((_, index) => index)
    .filter((index) => index !== place)
    .sort((a, b) => Math.abs(at(axis, a) - value) - Math.abs(at(axis, b) - value) || a - b);
}

function at<T>(items: readonly (T | null)[] | undefined, index: number): T {
  return must(items?.[index], "place of a table");
}
