import { median, sum } from "../common/index.ts";
import type { CostModel } from "../profile/index.ts";
import type { LoadRecord } from "./run-load.ts";
import type { StepRecord } from "../observe/index.ts";
import type { UnitRange } from "../model/index.ts";
import type { InPlace, InPlaceRatio, Overheads } from "./types.ts";

/** A run that shows what calls and steps cost in a cluster. */
export interface CalibrationRun {
  readonly stages: readonly UnitRange[];
  readonly record: LoadRecord;
}

/** What the calibration runs are held against. */
export interface CalibrationFacts {
  /** Of this machine, as it is. */
  readonly costs: CostModel;
  /** Times that each call was made to take as long. */
  readonly slowness: number;
  /** What a hop carries for a row. */
  readonly bytesPerRow: number;
}

/**
 * What steps cost beside computing, from runs of one stream through one stage and through two, without shaped links:
 * those that are judged are others.
 */
export function calibrateOverheads(
  one: readonly LoadRecord[],
  two: readonly LoadRecord[],
  facts: CalibrationFacts,
): Overheads {
  const decodes = (records: readonly LoadRecord[]): readonly StepRecord[] =>
    records.flatMap(({ steps }) => steps.filter(({ phase }) => phase === "decode"));
  const ringMs = median(decodes(one).map(outsideMs));
  const hopMs = Math.max(0, median(decodes(two).map(outsideMs)) - ringMs);
  const chunks = two.flatMap(({ steps }) => steps).filter(({ phase, rows }) => phase === "prefill" && rows > 1);
  const perByte = chunks.map((step) => (outsideMs(step) - ringMs - hopMs) / (step.rows * facts.bytesPerRow));
  return {
    ringMs,
    hopMs,
    hopMsPerByte: Math.max(0, median(perByte)),
    turnMs: median(one.flatMap(({ steps }) => listTurns(steps))),
    openMs: median(one.flatMap(({ requests, steps }) => requests.map(({ calledMs }) => findOpening(calledMs, steps)))),
    closeMs: median(
      one.flatMap(({ requests }) => requests.map(({ tokenMs, endedMs }) => endedMs - (tokenMs.at(-1) ?? endedMs))),
    ),
  };
}

/** How much longer calls take in a worker, which waits between them, than where nothing else is done. */
export function calibrateInPlace(runs: readonly CalibrationRun[], { costs, slowness }: CalibrationFacts): InPlace {
  const of = (phase: "decode" | "prefill"): readonly InPlaceRatio[] => {
    const byRows = new Map<number, number[]>();
    for (const { stages, record } of runs) {
      for (const step of record.steps) {
        if (step.phase !== phase) continue;
        const context = Math.max(0, step.contextTokens - step.rows);
        const predictedMs = sum(
          stages.map((stage) => costs.predictStage(stage, { phase, rows: step.rows, context }).ms),
        );
        const tookMs = sum(step.stages.map(({ computeNs }) => computeNs)) / 1e6 / slowness;
        const ratios = byRows.get(step.rows);
        if (ratios === undefined) byRows.set(step.rows, [tookMs / predictedMs]);
        else ratios.push(tookMs / predictedMs);
      }
    }
    return [...byRows]
      .map(([rows, ratios]) => ({ rows, ratio: median(ratios), calls: ratios.length }))
      .sort((one, other) => one.rows - other.rows);
  };
  return { decode: of("decode"), prefill: of("prefill") };
}

/** Between measured rows in proportion, outside as the nearest; 1 where nothing was measured. */
export function readInPlace(ratios: readonly InPlaceRatio[], rows: number): number {
  const above = ratios.find((one) => one.rows >= rows);
  const below = ratios.findLast((one) => one.rows <= rows);
  if (above === undefined || below === undefined) return (above ?? below)?.ratio ?? 1;
  if (above.rows === below.rows) return above.ratio;
  return below.ratio + ((above.ratio - below.ratio) * (rows - below.rows)) / (above.rows - below.rows);
}

/** Of a step, what was not computing. */
function outsideMs({ sentMonoNs, receivedMonoNs, stages }: StepRecord): number {
  return (receivedMonoNs - sentMonoNs - sum(stages.map(({ computeNs }) => computeNs))) / 1e6;
}

/** From each answer to the next step of the same request. */
function listTurns(steps: readonly StepRecord[]): readonly number[] {
  return steps.slice(1).flatMap((step, index) => {
    const before = steps[index];
    if (before === undefined || step.phase !== "decode" || before.requestIds[0] !== step.requestIds[0]) return [];
    return [(step.sentMonoNs - before.receivedMonoNs) / 1e6];
  });
}

function findOpening(calledMs: number, steps: readonly StepRecord[]): number {
  const first = steps.find(({ sentMonoNs }) => sentMonoNs / 1e6 >= calledMs);
  return first === undefined ? 0 : first.sentMonoNs / 1e6 - calledMs;
}
