import { NoodleError } from "../common/index.ts";
import type { UnitRange } from "../model/index.ts";
import type { ModelWork, UnitWork } from "../profile/index.ts";

export interface BlockLimits {
  /** Weights that are read by every step must be at least so many, so that they come from memory as in the real model. */
  readonly workingSetBytes: number;
  /** What all weights together may take. */
  readonly memoryBytes: number;
  /** A number of blocks that the engine takes for another model, or null. */
  readonly pinnedCount: number | null;
}

/** Two of a class show what of their difference is noise. */
const WANTED_OF_CLASS = 2;

/**
 * Chooses the blocks that are built in place of all: of every class of the range one at least, more in turn until the
 * working set is large enough, and never more than fit. Pure.
 *
 * @returns indices of blocks, ascending
 * @throws NoodleError `MEMORY_INSUFFICIENT` when one block of each class does not fit
 */
export function chooseBlocks(work: ModelWork, range: UnitRange, limits: BlockLimits): readonly number[] {
  const units = work.units.slice(range.first, range.end);
  const blocks = units.filter((unit) => unit.kind === "block");
  const outsideBytes = sumBytes(units.filter((unit) => unit.kind !== "block"));
  // Of an embedding a step reads a few rows only.
  const readOutsideBytes = sumBytes(units.filter((unit) => unit.kind === "head"));
  const order = takeTurns(blocks);
  const classes = new Set(blocks.map((unit) => unit.unitClass)).size;
  const chosen = order.slice(0, classes);
  let bytes = sumBytes(chosen);
  if (outsideBytes + bytes > limits.memoryBytes) {
    throw new NoodleError(
      "MEMORY_INSUFFICIENT",
      `one block of each kind, embedding and head need ${outsideBytes + bytes} bytes, ${Math.floor(limits.memoryBytes)} are free; --units takes a part`,
      { details: { needBytes: outsideBytes + bytes, haveBytes: limits.memoryBytes } },
    );
  }
  for (const unit of order.slice(classes)) {
    const isEnough = readOutsideBytes + bytes >= limits.workingSetBytes && chosen.length >= WANTED_OF_CLASS * classes;
    if (isEnough && chosen.length !== limits.pinnedCount) break;
    const unitBytes = sumBytes([unit]);
    if (outsideBytes + bytes + unitBytes > limits.memoryBytes) break;
    chosen.push(unit);
    bytes += unitBytes;
  }
  return chosen.map((unit) => unit.unit - 1).sort((a, b) => a - b);
}

/** The first of every class, then the second of every class, and so on. */
function takeTurns(blocks: readonly UnitWork[]): UnitWork[] {
  const seen = new Map<string, number>();
  const turns = blocks.map((unit) => {
    const turn = seen.get(unit.unitClass) ?? 0;
    seen.set(unit.unitClass, turn + 1);
    return { unit, turn };
  });
  return turns.sort((a, b) => a.turn - b.turn).map(({ unit }) => unit);
}

function sumBytes(units: readonly UnitWork[]): number {
  return units.reduce((total, unit) => total + unit.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0), 0);
}
