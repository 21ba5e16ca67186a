import { must } from "../common/index.ts";
import type { PlacementNode } from "../placement/index.ts";
import { choosePolicy, type SchedulePolicy, type StepCosts } from "../schedule/index.ts";
import { COORDINATOR, CostTable, type SimCluster, type SimLink, simulate, type SimStage } from "../sim/index.ts";
import { readInPlace } from "./calibrate.ts";
import { mean } from "./summarize-run.ts";
import type { Calibration, LinkShape, RunFigures, RunLoad, RunPlan } from "./types.ts";

/** All that a prediction is made of; nothing of it comes from the runs that it is held against. */
export interface PredictionInput {
  readonly model: { readonly units: number; readonly embeddingLength: number };
  /** Of each worker: its profile with the emulated speed, as a cluster's virtual node has it. */
  readonly nodes: readonly Pick<PlacementNode, "costs">[];
  /** Of each worker: times that its calls take as long as this machine's. */
  readonly slowness: readonly number[];
  readonly calibration: Calibration;
  readonly shape: LinkShape | null;
  readonly load: RunLoad;
}

/** A prediction, and what came into it. */
export interface Prediction {
  readonly figures: RunFigures;
  /** Share by which computing at once on one machine is taken to slow the stages down. */
  readonly coRunRatio: number;
}

/** A frame's bytes for each row, beside hidden states. */
const ROW_BYTES = 64;
const F32_BYTES = 4;
const WINDOW = 2;
/** What nothing real is held up by. */
const FREE_BYTES_PER_MS = 1e15;
const MAX_ROWS = 512;
/** The stages' overlap depends on how fast they are, which depends on their overlap: this settles. */
const CO_RUN_ROUNDS = 3;

/**
 * The policy of a plan, by the code that the coordinator chooses it with, from costs that the profiles predict instead
 * of those that it would learn.
 */
export function choosePlanPolicy(input: PredictionInput, plan: RunPlan): SchedulePolicy {
  const { load } = input;
  const rows = Math.max(1, Math.round(load.streams / plan.stages.length));
  const costs = predictStepCosts(input, plan, rows);
  return choosePolicy({
    stages: plan.stages.length,
    slots: load.streams,
    determinism: "recorded",
    classes: [],
    costs,
    maxRows: MAX_ROWS,
  });
}

/** Predicts a plan by the simulator: closed loop, the shared scheduling policy, profile costs, calibrated overheads. */
export function predictRun(input: PredictionInput, plan: RunPlan, policy: SchedulePolicy): Prediction {
  let share = plan.stages.map(() => 0);
  let figures = simulateRun(input, plan, policy, share);
  for (let round = 0; round < CO_RUN_ROUNDS; round++) {
    share = shareOfOthers(input, plan, figures);
    figures = simulateRun(input, plan, policy, share);
  }
  const { coRun } = input.calibration;
  return { figures, coRunRatio: (mean(share) ?? 0) * (coRun.decode - 1) };
}

/** Of each stage: how many others really compute, on the average, while it does. Those that wait idly do not. */
function shareOfOthers({ slowness, calibration }: PredictionInput, plan: RunPlan, figures: RunFigures): number[] {
  const real = plan.stages.map(
    ({ worker }, index) => (figures.stages[index]?.busyRatio ?? 0) / must(slowness[worker], "speed"),
  );
  const others = calibration.coRun.processes - 1;
  return real.map((_, index) => {
    const sum = real.reduce((total, value, other) => total + (other === index ? 0 : value), 0);
    return Math.min(1, sum / Math.max(1, others));
  });
}

function simulateRun(
  input: PredictionInput,
  plan: RunPlan,
  policy: SchedulePolicy,
  share: readonly number[],
): RunFigures {
  const { load } = input;
  const sums = plan.stages.map(() => ({ decode: [] as number[], prefill: [] as number[] }));
  const { overheads } = input.calibration;
  const requests = Array.from({ length: load.requests }, (_, index) => ({
    atMs: index < load.streams ? 0 : overheads.closeMs + 2 * (input.shape?.latencyMs ?? 0),
    promptTokens: load.promptTokens,
    genTokens: load.genTokens,
    client: `c${index % load.streams}`,
  }));
  const document = simulate(
    makeCluster(input, plan, policy, share),
    { loop: "closed", requests },
    {
      observer: {
        onService: ({ stage, phase, startMs, endMs }) => must(sums[stage], "stage")[phase].push(endMs - startMs),
      },
    },
  );
  return {
    tokensPerSec: document.throughput.tokens_per_s,
    ttftMs: document.ttft_ms?.mean ?? 0,
    itlMs: document.itl_ms?.mean ?? 0,
    stages: sums.map(({ decode, prefill }, index) => ({
      decodeMs: mean(decode),
      prefillMs: mean(prefill),
      busyRatio: document.stages[index]?.busy_ratio ?? 0,
    })),
  };
}

function makeCluster(
  input: PredictionInput,
  plan: RunPlan,
  policy: SchedulePolicy,
  share: readonly number[],
): SimCluster {
  const { load, shape, calibration } = input;
  const { overheads } = calibration;
  const latencyMs = shape?.latencyMs ?? 0;
  const bytesPerMs = shape?.bytesPerMs ?? FREE_BYTES_PER_MS;
  const names = plan.stages.map((_, index) => `stage ${index}`);
  const hopBytesPerMs = 1 / (1 / bytesPerMs + overheads.hopMsPerByte);
  const link = (from: string, to: string, extraMs: number, rate: number): SimLink => ({
    from,
    to,
    latencyMs: latencyMs + extraMs,
    bytesPerMs: rate,
    jitterMs: shape?.jitterMs ?? 0,
  });
  const first = must(names[0], "first stage");
  const last = must(names.at(-1), "last stage");
  const halfRingMs = overheads.ringMs / 2;
  const links = [
    link(COORDINATOR, first, halfRingMs, bytesPerMs),
    link(first, COORDINATOR, first === last ? halfRingMs + overheads.turnMs : halfRingMs, bytesPerMs),
    ...(first === last ? [] : [link(last, COORDINATOR, halfRingMs + overheads.turnMs, bytesPerMs)]),
    ...names.slice(1).flatMap((to, index) => {
      const from = must(names[index], "stage");
      return [link(from, to, overheads.hopMs, hopBytesPerMs), link(to, from, overheads.hopMs, bytesPerMs)];
    }),
  ];
  return {
    nodes: names.map((id) => ({ id })),
    links,
    pipelines: [
      {
        policy,
        window: WINDOW,
        contextTokens: load.contextTokens,
        kvTokens: null,
        resultBytesPerFrame: 0,
        resultBytesPerRow: ROW_BYTES,
        openMs: overheads.openMs + 2 * latencyMs,
        stages: plan.stages.map((_, index) => makeStage(input, plan, index, share[index] ?? 0)),
      },
    ],
  };
}

function makeStage(input: PredictionInput, plan: RunPlan, index: number, share: number): SimStage {
  const { model, nodes, calibration } = input;
  const { worker, first, end } = must(plan.stages[index], "stage");
  const { units } = model;
  const table = new CostTable(must(nodes[worker], "node").costs, { first, end }, units);
  const { inPlace, coRun } = calibration;
  const factors = new Map<string, number>();
  const findFactor = (phase: "prefill" | "decode", rows: number): number => {
    const key = `${phase} ${rows}`;
    let factor = factors.get(key);
    if (factor === undefined) {
      factor = readInPlace(inPlace[phase], rows) * (1 + share * (coRun[phase] - 1));
      factors.set(key, factor);
    }
    return factor;
  };
  return {
    node: `stage ${index}`,
    first,
    end,
    cost: {
      predictMs: (phase, rows, context, output) =>
        table.predictMs(phase, rows, context, output) * findFactor(phase, rows),
    },
    bytesPerFrame: 0,
    bytesPerRow: index === 0 ? ROW_BYTES : model.embeddingLength * F32_BYTES + ROW_BYTES,
    outputRowsOnly: index > 0 && first === units - 1,
    kvBytesPerToken: 0,
  };
}

const COST_ROWS = [1, 2, 4, 8, 16] as const;
const CHUNK_ROWS = [16, 32, 64, 128, 256] as const;

function predictStepCosts(input: PredictionInput, plan: RunPlan, decodeRows: number): StepCosts {
  const { load } = input;
  const context = load.promptTokens + load.genTokens / 2;
  const stages = plan.stages.map((_, index) => makeStage(input, plan, index, 0));
  const slowest = (phase: "prefill" | "decode", rows: number): number =>
    Math.max(...stages.map(({ cost }) => cost.predictMs(phase, rows, context, true)));
  return {
    decode: COST_ROWS.filter((rows) => rows <= load.streams).map((rows) => ({ rows, ms: slowest("decode", rows) })),
    prefill: CHUNK_ROWS.map((rows) => ({ rows, ms: slowest("prefill", rows) })),
    hopMs: input.calibration.overheads.hopMs + (input.shape?.latencyMs ?? 0),
    decodeRows,
  };
}
