import { median, must } from "../common/index.ts";
import type { PlacementModel } from "../placement/index.ts";
import { CostModel, type CostModelDocument } from "../profile/index.ts";
import { profileModel, type ProfileOptions } from "../profiler/index.ts";
import type { SchedulePolicy } from "../schedule/index.ts";
import { calibrateInPlace, calibrateOverheads, type CalibrationRun } from "./calibrate.ts";
import { RunCluster, type RunContext } from "./run-cluster.ts";
import { runLoad } from "./run-load.ts";
import type { Calibration, CoRun, RunLoad, RunStage } from "./types.ts";

const F32_BYTES = 4;
const ROW_BYTES = 64;
const CO_RUN_BUDGET_MS = 3000;
const CO_RUN_ROWS = 32;
const REQUESTS = 3;
const GENERATED = 24;
/** Prompts of other rounds are other prompts. */
const ROUND = 1000;

export interface CalibrationTask extends Omit<RunContext, "slowness" | "shape"> {
  readonly placement: PlacementModel;
  /** Of the calibration's workers, so that they wait idly as those of the judged runs do. */
  readonly slowness: number;
  /** Of the judged runs. */
  readonly workers: number;
  /** Keeps stage files from start to start. */
  readonly directory: string;
}

/** What calibration runs have shown, of all rounds so far. */
export interface CalibrationRounds {
  readonly alone: readonly CalibrationRun[];
  readonly loaded: readonly CalibrationRun[];
  readonly two: readonly CalibrationRun[];
}

export const NO_ROUNDS: CalibrationRounds = { alone: [], loaded: [], two: [] };

/**
 * Measures what a prediction needs beside a profile, on this machine and model but not on the runs that are judged: the
 * whole model in one worker, under one stream and under the load, and one stream through two stages. Done again before
 * each round of runs, since machines drift.
 */
export async function runCalibration(
  task: CalibrationTask,
  before: CalibrationRounds,
  round: number,
): Promise<CalibrationRounds> {
  const { placement, load } = task;
  const { units: all, legalCuts } = placement.description;
  const units = all.length;
  const middle = must(nearest(legalCuts, units / 2), "legal cut");
  const single = {
    ...load,
    streams: 1,
    requests: REQUESTS,
    genTokens: Math.min(GENERATED, load.contextTokens - load.promptTokens),
  };
  const [alone, loaded] = await runLoads(task, [{ first: 0, end: units, worker: 0 }], [single, load], round);
  const [two] = await runLoads(
    task,
    [
      { first: 0, end: middle, worker: 0 },
      { first: middle, end: units, worker: 1 },
    ],
    [single],
    round,
  );
  return {
    alone: [...before.alone, must(alone, "run")],
    loaded: [...before.loaded, must(loaded, "run")],
    two: [...before.two, must(two, "run")],
  };
}

/** What the rounds come to. @param costs of this machine, as it is */
export function concludeCalibration(
  { placement, slowness }: CalibrationTask,
  { alone, loaded, two }: CalibrationRounds,
  costs: CostModelDocument,
  coRun: CoRun,
): Calibration {
  const bytesPerRow = placement.description.embeddingLength * F32_BYTES + ROW_BYTES;
  const facts = { costs: new CostModel(costs), slowness, bytesPerRow };
  const records = (runs: readonly CalibrationRun[]) => runs.map(({ record }) => record);
  return {
    overheads: calibrateOverheads(records(alone), records(two), facts),
    inPlace: calibrateInPlace([...alone, ...loaded, ...two], facts),
    coRun,
  };
}

async function runLoads(
  task: CalibrationTask,
  stages: readonly RunStage[],
  loads: readonly RunLoad[],
  round: number,
): Promise<readonly CalibrationRun[]> {
  const { load, tokenizer, signal, slowness, directory } = task;
  const policy: SchedulePolicy = {
    stages: stages.length,
    slots: load.streams,
    determinism: "recorded",
    align: 1,
    pairFromCells: null,
    // As many micro-batches as the judged runs have: calls of as few rows.
    decodeInFlight: task.workers,
    maxDecodeRows: load.streams,
    prefillRows: load.promptTokens,
    mixedPrefillRows: Math.min(load.promptTokens, MIXED_ROWS),
  };
  const context = { ...task, slowness: stages.map(() => slowness), shape: null };
  const setup = { plan: { name: "calibration", stages }, policy };
  await using cluster = await RunCluster.start(context, setup, directory);
  const { coordinator } = cluster.cluster;
  const run = (each: RunLoad, number: number) =>
    runLoad(coordinator, cluster.observer, each, tokenizer.vocabSize, number, signal);
  await run({ ...load, streams: 1, requests: 1, genTokens: 2 }, ROUND + round);
  const runs: CalibrationRun[] = [];
  for (const [index, each] of loads.entries()) {
    runs.push({ stages, record: await run(each, ROUND + loads.length * (1 + round) + index) });
  }
  return runs;
}

const MIXED_ROWS = 8;

/** A step of the whole model in each of so many processes at once, against the same in one alone. */
export async function calibrateCoRun(
  profiling: ProfileOptions,
  units: number,
  processes: number,
  signal: AbortSignal,
): Promise<CoRun> {
  if (processes < 2) return { processes: 1, decode: 1, prefill: 1 };
  const options = { ...profiling, decodeRows: [1], prefillRows: [CO_RUN_ROWS], contexts: [0] };
  const measure = async (): Promise<Record<"decode" | "prefill", number>> => {
    const profile = await profileModel({ ...options, budgetMs: CO_RUN_BUDGET_MS }, () => undefined, signal);
    const costs = new CostModel(profile.cost_model);
    const range = { first: 0, end: units };
    return {
      decode: costs.predictStage(range, { phase: "decode", rows: 1, context: 0 }).ms,
      prefill: costs.predictStage(range, { phase: "prefill", rows: CO_RUN_ROWS, context: 0 }).ms,
    };
  };
  const alone = await measure();
  const together = await Promise.all(Array.from({ length: processes }, measure));
  const ratio = (phase: "decode" | "prefill"): number =>
    Math.max(1, median(together.map((each) => each[phase])) / alone[phase]);
  return { processes, decode: ratio("decode"), prefill: ratio("prefill") };
}

function nearest(values: readonly number[], wanted: number): number | undefined {
  return values.toSorted((a, b) => Math.abs(a - wanted) - Math.abs(b - wanted))[0];
}
