/**
 * Units of a model with L layers: 0 is the token embedding, 1..L are the blocks, L+1 is the head (final norm and output
 * matrix). Block index (`blk.N` in the file) = unit - 1.
 */

/** Half-open range of units. */
export interface UnitRange {
  readonly first: number;
  readonly end: number;
}

/** Half-open range of block indices, 0-based as in `blk.N`; empty when `first === end`. */
export interface BlockRange {
  readonly first: number;
  readonly end: number;
}

export const EMBEDDING_UNIT = 0;

/** Number of units of a model with so many blocks. */
export function countUnits(blockCount: number): number {
  return blockCount + 2;
}

/** The blocks among the units of a range. */
export function blocksOf(range: UnitRange, blockCount: number): BlockRange {
  const first = Math.min(Math.max(range.first - 1, 0), blockCount);
  return { first, end: Math.max(first, Math.min(range.end - 1, blockCount)) };
}

export function hasEmbedding(range: UnitRange): boolean {
  return range.first === EMBEDDING_UNIT;
}

export function hasHead(range: UnitRange, blockCount: number): boolean {
  return range.end === countUnits(blockCount);
}

export function formatRange(range: UnitRange): string {
  return `${range.first}:${range.end}`;
}
