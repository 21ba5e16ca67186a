import { findStepMs, type HotSpot, listHotSpots } from "./hot-spots.ts";
import type { MeasuredCell } from "./measured.ts";
import type { ModelWork } from "./model-work.ts";
import { findRemedies } from "./remedies.ts";
import { computeMs, memoryMs, type Roofs } from "./roofline.ts";
import { roundFigure } from "./round.ts";
import type { Bottleneck, ProfileMachine, ProfileSettings } from "./types.ts";
import { sayBytes, sayCount, sayFlops, sayMs, sayRate, saySharePercent } from "./words.ts";

export interface BottleneckInput {
  readonly cells: readonly MeasuredCell[];
  readonly work: ModelWork;
  readonly machine: ProfileMachine;
  readonly settings: ProfileSettings;
}

const MOST_SPOTS = 5;
/** What takes less is no bottleneck, whatever happens to it. */
const SMALLEST_SHARE = 0.03;
/** Faster than the measured memory by so much: the bytes come from a cache. */
const CACHE_FACTOR = 1.15;

const NOTHING_HELPS = "Nothing that this profile can put a figure on would save 1% of the step.";
const NOTHING_OF_ITS_OWN = "Nothing that this profile can put a figure on helps here alone.";

/**
 * The spots where a step's time goes, for the steps that matter: decode of one row (or the fewest) at the largest
 * context, decode of the most rows, prefill of the most rows. Each says why it takes so long and what would help.
 */
export function findBottlenecks(input: BottleneckInput): Bottleneck[] {
  const { machine } = input;
  const roofs = { memoryGbPerS: machine.memory_gb_per_s, computeGflops: machine.compute_gflops };
  return chooseCells(input.cells).flatMap((cell) =>
    listHotSpots(cell, roofs)
      .filter((spot) => spot.share >= SMALLEST_SHARE)
      .slice(0, MOST_SPOTS)
      .map((spot, rank): Bottleneck => {
        const remedies = findRemedies(spot, rank === 0, input, roofs);
        const why = `${sayShare(spot)} ${sayWhy(spot, roofs, input.settings.threads)}`;
        return {
          phase: cell.phase,
          rows: cell.rows,
          context: cell.context,
          unit: spot.units.length === 1 ? (spot.units[0]?.unit ?? null) : null,
          name: nameSpot(spot),
          unit_class: spot.unitClass,
          role: spot.role,
          ms: roundFigure(spot.ms),
          share: roundFigure(spot.share),
          bound: spot.bound,
          words: remedies.length > 0 ? why : `${why} ${rank === 0 ? NOTHING_HELPS : NOTHING_OF_ITS_OWN}`,
          remedies,
        };
      }),
  );
}

function chooseCells(cells: readonly MeasuredCell[]): MeasuredCell[] {
  const decode = cells.filter((cell) => cell.phase === "decode");
  const prefill = cells.filter((cell) => cell.phase === "prefill");
  const chosen = [
    decode.toSorted((a, b) => a.rows - b.rows || b.context - a.context)[0],
    decode.toSorted((a, b) => b.rows - a.rows || b.context - a.context)[0],
    prefill.toSorted((a, b) => b.rows - a.rows || a.context - b.context)[0],
  ];
  return [...new Set(chosen.filter((cell) => cell !== undefined))];
}

/** `head`, `blk.3 mlp`, `block x 12 attention`. */
export function nameSpot({ units, unitClass, role }: HotSpot): string {
  const [first] = units;
  const who = units.length === 1 && first !== undefined ? first.name : `${unitClass} x ${units.length}`;
  return role === "total" || role === who ? who : `${who} ${role}`;
}

function sayShare(spot: HotSpot): string {
  const { cell } = spot;
  const each = `${nameSpot(spot)}: ${saySharePercent(spot.share)} of`;
  const time = `(${sayMs(spot.ms)} of ${sayMs(findStepMs(cell))})`;
  const behind = cell.context === 0 ? "" : ` behind ${cell.context} tokens of context`;
  if (cell.phase === "prefill")
    return `${each} reading a chunk of ${sayCount(cell.rows, "prompt token")}${behind} ${time}.`;
  return cell.rows === 1
    ? `${each} each token${behind} ${time}.`
    : `${each} each step of ${cell.rows} sequences${behind} ${time}.`;
}

function sayWhy(spot: HotSpot, roofs: Roofs, threads: number): string {
  const { ms, flops, bytesMoved } = spot;
  if (flops === 0 && bytesMoved === 0) return "Neither bytes nor arithmetic of the model are counted for it.";
  const rate = bytesMoved / (ms * 1e6);
  switch (spot.bound) {
    case "memory": {
      const moved = `It moves ${sayBytes(bytesMoved)} at ${sayRate(rate, "GB/s")}`;
      return rate > CACHE_FACTOR * roofs.memoryGbPerS
        ? `${moved}, faster than this machine's memory (${sayRate(roofs.memoryGbPerS, "GB/s")}): caches hold part of it.`
        : `${moved}, ${saySharePercent(rate / roofs.memoryGbPerS)} of this machine's memory bandwidth.`;
    }
    case "compute":
      return (
        `It computes ${sayFlops(flops)} at ${sayRate(flops / (ms * 1e6), "GFLOP/s")}, ` +
        `${saySharePercent(computeMs(flops, roofs) / ms)} of the best rate that ${sayCount(threads, "thread")} reached here.`
      );
    case "overhead":
      return (
        `Its bytes need ${sayMs(memoryMs(bytesMoved, roofs))} and its arithmetic ${sayMs(computeMs(flops, roofs))}: ` +
        "most of the time goes into starting and synchronising small operations, or into kernels far from both roofs."
      );
  }
}
