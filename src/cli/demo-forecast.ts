import { CostModel, type CostModelDocument } from "../profile/index.ts";
import type { ModelPlan } from "../placement/index.ts";
import { generateWorkload, makeSimCluster, simulate, simulateSharing, type SimulationDocument } from "../sim/index.ts";
import type { RequestTrace } from "../trace/index.ts";
import { listNodes, type LocalHops, makeLocalCluster } from "./demo-plan.ts";
import type { Generation } from "./generation.ts";
import { PREFILL_ROWS } from "./local-cluster.ts";
import type { PredictedFigure } from "./predicted-figures.ts";
import type { StreamsAtOnce } from "./streams-at-once.ts";

export interface DemoWorkload {
  readonly promptTokens: number;
  readonly tokens: number;
  readonly streams: number;
  readonly streamTokens: number;
}

/** What is expected of the run, before it. */
export interface DemoForecast {
  /** Of the story alone, and of all streams at once. */
  readonly story: SimulationDocument;
  readonly streams: SimulationDocument;
  /** All streams in one process, with as many threads as it is quickest with. */
  readonly alone: { readonly simulation: SimulationDocument; readonly threads: number };
  /** What sharing the cores costs while all streams run, at most of any worker. */
  readonly sharingFactor: number;
}

export interface OneProcess {
  readonly plan: ModelPlan;
  readonly costs: CostModelDocument;
  readonly threads: number;
}

export interface ForecastInput {
  readonly plan: ModelPlan;
  readonly costs: CostModelDocument;
  /** One process, by the profiles that there are. */
  readonly alone: readonly OneProcess[];
  readonly hops: LocalHops;
  readonly cores: number;
  readonly threads: number;
  readonly workload: DemoWorkload;
}

/** Simulates what the demo is about to run. */
export function forecastDemo(input: ForecastInput): DemoForecast {
  const { plan, costs, alone, hops, cores, threads, workload } = input;
  const nodes = listNodes(costs, plan.stages.length);
  const cluster = makeLocalCluster(nodes, hops);
  const make = () => makeSimCluster({ plan: asServed(plan), cluster, nodes });
  const shared = simulateSharing(make(), requests(workload, workload.streams), { cores, threads });
  const all = alone.map((one) => ({ simulation: simulateAlone(one, workload), threads: one.threads }));
  return {
    story: simulate(make(), requests(workload, 1)),
    streams: shared.document,
    alone: all.reduce((a, b) => (b.simulation.throughput.tokens_per_s > a.simulation.throughput.tokens_per_s ? b : a)),
    sharingFactor: Math.max(...shared.factors.values()),
  };
}

function simulateAlone({ plan, costs }: OneProcess, workload: DemoWorkload): SimulationDocument {
  const nodes = listNodes(costs, 1);
  const cluster = makeSimCluster({ plan: asServed(plan), cluster: makeLocalCluster(nodes, null), nodes });
  return simulate(cluster, requests(workload, workload.streams));
}

/** Chunks and rows as the demo's coordinator chooses them. */
function asServed(plan: ModelPlan): ModelPlan {
  const { policy } = plan;
  if (policy === null) return plan;
  return { ...plan, policy: { ...policy, prefill_rows: PREFILL_ROWS, max_decode_rows: policy.slots } };
}

function requests({ promptTokens, tokens, streamTokens }: DemoWorkload, streams: number) {
  return generateWorkload({
    requests: streams,
    prompt: { type: "fixed", tokens: promptTokens },
    generated: { type: "fixed", tokens: streams === 1 ? tokens : streamTokens },
    arrivals: { type: "closed", streams },
  });
}

/** What was foretold beside what was measured: stage by stage, then what a user sees. */
export function compareForecast(
  { plan, costs, workload }: ForecastInput,
  { story, streams: together }: DemoForecast,
  measured: { readonly generation: Generation; readonly trace: RequestTrace; readonly streams: StreamsAtOnce },
): readonly PredictedFigure[] {
  const model = new CostModel(costs);
  const { generation, trace, streams } = measured;
  const decode = { phase: "decode", rows: 1, context: workload.promptTokens + generation.tokenIds.length / 2 } as const;
  const prefill = { phase: "prefill", rows: workload.promptTokens, context: 0 } as const;
  const perStage = plan.stages.flatMap(({ first, end, units }, index): PredictedFigure[] => {
    const name = `stage ${index + 1} (${units})`;
    return [
      {
        name: `${name}, decode step`,
        unit: "ms",
        predicted: model.predictStage({ first, end }, decode).ms,
        measured: generation.stages[index]?.computeMsP50 ?? null,
      },
      {
        name: `${name}, prompt of ${workload.promptTokens}`,
        unit: "ms",
        predicted: model.predictStage({ first, end }, prefill).ms,
        measured: measurePrompt(trace, index),
      },
    ];
  });
  const rate = generation.decodeTokensPerSec;
  const itlMs = story.itl_ms?.mean ?? null;
  return [
    ...perStage,
    { name: "first token", unit: "ms", predicted: story.ttft_ms?.mean ?? null, measured: generation.ttftMs },
    { name: "token to token", unit: "ms", predicted: itlMs, measured: rate > 0 ? 1000 / rate : null },
    {
      name: "one stream",
      unit: "tokens/s",
      predicted: itlMs === null || itlMs === 0 ? null : 1000 / itlMs,
      measured: rate,
    },
    {
      name: `${streams.streams} streams at once`,
      unit: "tokens/s",
      predicted: together.throughput.tokens_per_s,
      measured: streams.tokensPerSec,
    },
  ];
}

/** What a stage computed until the first token. */
function measurePrompt({ steps }: RequestTrace, stage: number): number | null {
  const chunks = steps.filter(({ phase }) => phase === "prefill");
  const times = chunks.flatMap(({ stages }) => stages.filter((one) => one.stage === stage));
  return times.length === 0 ? null : times.reduce((total, { compute_ns }) => total + compute_ns, 0) / 1e6;
}
