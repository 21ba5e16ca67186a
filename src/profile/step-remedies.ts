import type { BottleneckInput } from "./bottlenecks.ts";
import { findStepMs, listHotSpots } from "./hot-spots.ts";
import { makeRemedy } from "./make-remedy.ts";
import type { MeasuredCell } from "./measured.ts";
import { memoryMs, type Roofs } from "./roofline.ts";
import { findTwoStageCuts } from "./two-stages.ts";
import type { Remedy } from "./types.ts";
import { sayCount, sayMs } from "./words.ts";

/** What would change a whole step, whatever its dearest spot is. */
export function findStepRemedies(cell: MeasuredCell, input: BottleneckInput, roofs: Roofs): (Remedy | null)[] {
  return [addThreads(cell, input, roofs), batchRows(cell, input), changeChunk(cell, input), cutInTwo(cell, input)];
}

/** Arithmetic is shared among threads, up to the cores and down to what the memory asks for; the rest stays as it is. */
function addThreads(cell: MeasuredCell, { machine, settings }: BottleneckInput, roofs: Roofs): Remedy | null {
  if (settings.threads >= machine.cores) return null;
  const bound = listHotSpots(cell, roofs).filter((spot) => spot.bound === "compute");
  const nowMs = bound.reduce((sum, spot) => sum + spot.ms, 0);
  const thenMs = bound.reduce((sum, spot) => {
    const floor = Math.min(spot.ms, memoryMs(spot.bytesMoved, roofs));
    return sum + Math.max((spot.ms * settings.threads) / machine.cores, floor);
  }, 0);
  return makeRemedy(
    "threads",
    `${machine.cores} threads instead of ${settings.threads}`,
    (nowMs - thenMs) / findStepMs(cell),
    `arithmetic bounds ${sayMs(nowMs)} of ${sayMs(findStepMs(cell))} and the machine has ${sayCount(machine.cores, "core")}; if that part scaled with them as far as the memory allows, it would take ${sayMs(thenMs)}: profile with --threads ${machine.cores} to know`,
  );
}

/** Decode: a step of more rows reads the weights once for all of them. Compared where both were measured. */
function batchRows(cell: MeasuredCell, { cells }: BottleneckInput): Remedy | null {
  if (cell.phase !== "decode") return null;
  const pairs = cells.flatMap((more) => {
    if (more.phase !== "decode" || more.rows <= cell.rows || more.context > cell.context) return [];
    const same = cells.find(
      (other) => other.phase === "decode" && other.rows === cell.rows && other.context === more.context,
    );
    if (same === undefined || same.totals.length !== more.totals.length) return [];
    const [nowMs, thenMs] = [findStepMs(same) / same.rows, findStepMs(more) / more.rows];
    return [{ context: more.context, rows: more.rows, nowMs, thenMs }];
  });
  // The context nearest to the step's own, then the best number of rows.
  const best = pairs.toSorted((a, b) => b.context - a.context || a.thenMs - b.thenMs)[0];
  if (best === undefined) return null;
  return makeRemedy(
    "rows",
    `${best.rows} sequences in one step instead of ${cell.rows}: less time for each token, more for each step`,
    1 - best.thenMs / best.nowMs,
    `at ${best.context} tokens of context a token costs ${sayMs(best.nowMs)} in steps of ${sayCount(cell.rows, "row")} and ${sayMs(best.thenMs)} in steps of ${best.rows}, both measured`,
  );
}

/** Prefill: another size of chunk for as many prompt tokens as this step has. */
function changeChunk(cell: MeasuredCell, { cells }: BottleneckInput): Remedy | null {
  if (cell.phase !== "prefill") return null;
  const smaller = cells
    .filter((other) => other.phase === "prefill" && other.rows < cell.rows && other.context === cell.context)
    .sort((a, b) => a.rows - b.rows);
  return shrinkChunk(cell, smaller, cells) ?? growChunk(cell, smaller.at(-1));
}

/** Later chunks of the same tokens have more context, so a smaller size must have been measured at two contexts. */
function shrinkChunk(
  cell: MeasuredCell,
  smaller: readonly MeasuredCell[],
  cells: readonly MeasuredCell[],
): Remedy | null {
  const nowMs = findStepMs(cell) / cell.rows;
  const choices = smaller.flatMap((first) => {
    const later = cells.find(
      (other) => other.phase === "prefill" && other.rows === first.rows && other.context > first.context,
    );
    if (later === undefined) return [];
    const meanContext = (cell.rows - first.rows) / 2;
    const slope = (findStepMs(later) - findStepMs(first)) / (later.context - first.context);
    return [{ rows: first.rows, thenMs: (findStepMs(first) + Math.max(0, slope) * meanContext) / first.rows }];
  });
  const best = choices.toSorted((a, b) => a.thenMs - b.thenMs)[0];
  if (best === undefined || best.thenMs >= nowMs) return null;
  return makeRemedy(
    "chunk",
    `chunks of ${best.rows} prompt tokens instead of ${cell.rows}`,
    1 - best.thenMs / nowMs,
    `a token costs ${sayMs(best.thenMs)} in chunks of ${best.rows}, their growing context counted, and ${sayMs(nowMs)} in chunks of ${cell.rows}`,
  );
}

/** What does not grow with the rows is paid once for each chunk. */
function growChunk(cell: MeasuredCell, before: MeasuredCell | undefined): Remedy | null {
  if (before === undefined) return null;
  const [ms, beforeMs] = [findStepMs(cell), findStepMs(before)];
  const perRow = (ms - beforeMs) / (cell.rows - before.rows);
  const fixedMs = ms - perRow * cell.rows;
  return makeRemedy(
    "chunk",
    `chunks of ${2 * cell.rows} prompt tokens instead of ${cell.rows}`,
    fixedMs / 2 / ms,
    `from ${before.rows} to ${cell.rows} rows it grew by ${sayMs(perRow)} a row, so ${sayMs(fixedMs)} of ${sayMs(ms)} are paid once for each chunk`,
  );
}

/** Two machines like this one, requests in flight on both: then the slower stage is what a step costs. */
function cutInTwo(cell: MeasuredCell, { work }: BottleneckInput): Remedy | null {
  const cuts = findTwoStageCuts(work, cell);
  if (cuts === null) return null;
  const { byTime, byBytes, totalMs } = cuts;
  const other =
    byTime.cut === byBytes.cut
      ? "the cut that balances the bytes is the same"
      : `the cut at ${byBytes.cut}, which balances the bytes, leaves ${sayMs(byBytes.slowestMs)}`;
  return makeRemedy(
    "cut",
    `a second machine like this one, cut at ${byTime.cut}: more tokens per second with two requests in flight, not less time for one`,
    1 - byTime.slowestMs / totalMs,
    `the slower of the stages 0:${byTime.cut} and ${byTime.cut}:${work.units.length} takes ${sayMs(byTime.slowestMs)} of ${sayMs(totalMs)} by measured time; ${other} (without links)`,
  );
}
