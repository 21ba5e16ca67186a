import type { ProfileSkip } from "../profile/index.ts";
import type { Cell } from "./cells.ts";

/** How a stage is opened so that it can hold the cells. */
export interface StageShape {
  /** Of each sequence. */
  readonly contextTokens: number;
  readonly parallel: number;
  readonly maxRows: number;
}

export interface ShapeLimits {
  /** Tokens that the model was made for; 0 = it does not say. */
  readonly contextLength: number;
  /** K and V of one token in all blocks of the stage. */
  readonly kvBytesPerToken: number;
  /** What the KV cache may take. */
  readonly kvLimitBytes: number;
}

export interface ShapeChoice {
  /** null when no cell can be had. */
  readonly shape: StageShape | null;
  /** In the order given. */
  readonly cells: readonly Cell[];
  readonly skipped: readonly ProfileSkip[];
}

/** The engine makes KV cells in steps of so many. */
const CELL_STEP = 256;

/** Sequences of a cell: decode has one for each row. */
export function countSequences(cell: Cell): number {
  return cell.phase === "decode" ? cell.rows : 1;
}

/** Positions that each sequence holds behind the step. */
function countTokens(cell: Cell): number {
  return cell.context + cell.rows / countSequences(cell);
}

/**
 * Chooses the KV cache that lets the most important cells be measured: every sequence has the same length, so the most
 * sequences and the longest context are paid for together even if no cell has both. Pure.
 *
 * @param cells most important first
 */
export function chooseShape(cells: readonly Cell[], limits: ShapeLimits): ShapeChoice {
  const possible = cells.filter((cell) => isWithin(cell, limits));
  let kept: readonly Cell[] = [];
  let bestScore = 0;
  for (const tokens of new Set(possible.map(countTokens))) {
    for (const sequences of new Set(possible.map(countSequences))) {
      if (kvBytesOf(tokens, sequences, limits) > limits.kvLimitBytes) continue;
      const held = possible.filter((cell) => countTokens(cell) <= tokens && countSequences(cell) <= sequences);
      const score = held.reduce((sum, cell) => sum + weigh(cells.indexOf(cell)), 0);
      if (score > bestScore) [kept, bestScore] = [held, score];
    }
  }
  const skipped = cells
    .filter((cell) => !kept.includes(cell))
    .map((cell) => ({ ...cell, reason: explain(cell, limits) }));
  return { shape: kept.length === 0 ? null : shapeOf(kept, limits), cells: kept, skipped };
}

/** A cell counts by its place in the list, so that many unimportant ones do not outweigh the first. */
function weigh(index: number): number {
  return 1 / (1 + index);
}

function isWithin(cell: Cell, { contextLength }: ShapeLimits): boolean {
  return contextLength === 0 || countTokens(cell) <= contextLength;
}

function kvBytesOf(tokens: number, sequences: number, { kvBytesPerToken }: ShapeLimits): number {
  return roundUp(tokens) * sequences * kvBytesPerToken;
}

function shapeOf(cells: readonly Cell[], { contextLength }: ShapeLimits): StageShape {
  const tokens = roundUp(Math.max(...cells.map(countTokens)));
  return {
    contextTokens: contextLength === 0 ? tokens : Math.min(tokens, contextLength),
    parallel: Math.max(...cells.map(countSequences)),
    maxRows: Math.max(...cells.map((cell) => cell.rows)),
  };
}

function explain(cell: Cell, limits: ShapeLimits): string {
  const tokens = countTokens(cell);
  if (!isWithin(cell, limits)) {
    return `it needs ${tokens} tokens of context, the model was made for ${limits.contextLength}`;
  }
  const needBytes = kvBytesOf(tokens, countSequences(cell), limits);
  const limitBytes = Math.max(0, Math.floor(limits.kvLimitBytes));
  return needBytes > limits.kvLimitBytes
    ? `its KV cache of ${needBytes} bytes does not fit into the ${limitBytes} that are free`
    : `one KV cache for it and for more important cells does not fit into the ${limitBytes} bytes that are free`;
}

function roundUp(tokens: number): number {
  return Math.ceil(tokens / CELL_STEP) * CELL_STEP;
}
