import type { Phase } from "../observe/index.ts";

/** What is measured: a step of `rows` rows behind `context` positions. */
export interface Cell {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
}

export interface CellGrid {
  readonly prefillRows: readonly number[];
  readonly decodeRows: readonly number[];
  readonly contexts: readonly number[];
}

export function formatCell({ phase, rows, context }: Cell): string {
  return `${phase} ${rows} ${rows === 1 ? "row" : "rows"} at context ${context}`;
}

/**
 * All cells of a grid, what a reader needs most first: one decoded row, the largest prefill, the ends of each axis, then
 * what lies between. A budget that ends early so leaves a profile that is coarse, not one that is lopsided. Pure.
 */
export function orderCells(grid: CellGrid): readonly Cell[] {
  const contexts = sortUnique(grid.contexts);
  const phases = [
    { phase: "decode" as const, rows: sortUnique(grid.decodeRows) },
    // Largest first: its rate says more about a machine than that of a few rows.
    { phase: "prefill" as const, rows: sortUnique(grid.prefillRows).toReversed() },
  ];
  const ranked = phases.flatMap(({ phase, rows }) =>
    rows.flatMap((row, rowIndex) =>
      contexts.map((context, contextIndex) => ({
        cell: { phase, rows: row, context },
        rank: rankCell(place(rowIndex, rows.length), place(contextIndex, contexts.length)),
      })),
    ),
  );
  // Equal ranks stay in the order above: decode before prefill.
  return ranked.sort((a, b) => a.rank - b.rank).map(({ cell }) => cell);
}

type Place = "first" | "last" | "inside";

function place(index: number, count: number): Place {
  if (index === 0) return "first";
  return index === count - 1 ? "last" : "inside";
}

const RANKS: Readonly<Record<`${Place} ${Place}`, number>> = {
  "first first": 0,
  "first last": 1,
  "last first": 2,
  "inside first": 3,
  "first inside": 4,
  "last last": 5,
  "inside last": 6,
  "last inside": 7,
  "inside inside": 8,
};

function rankCell(rows: Place, context: Place): number {
  return RANKS[`${rows} ${context}`];
}

function sortUnique(values: readonly number[]): number[] {
  return [...new Set(values)].sort((a, b) => a - b);
}
