import { sum } from "../common/index.ts";
import { type Cluster, type Link, type ModelPlan, type PlacementModel, planModel } from "../placement/index.ts";
import type { PlacementNode } from "../placement/index.ts";
import { CostModel, type CostModelDocument } from "../profile/index.ts";
import type { Generation } from "./generation.ts";

/** What the demo's workers and the coordinator are to each other: processes of one machine. */
export interface LocalHops {
  /** Into each stage, from the one before it or the coordinator. */
  readonly intoMs: readonly number[];
  /** From the last stage back, and all that the coordinator does between two tokens. */
  readonly backMs: number;
}

const COORDINATOR = "coordinator";
/** Until they are measured: what a small message takes between two processes of one machine, about. */
const NOMINAL_MS = 0.5;
/** Through the memory of one machine. */
const LOCAL_BYTES_PER_MS = 1_000_000;

export interface LocalPlanInput {
  readonly model: PlacementModel;
  readonly costs: CostModelDocument;
  readonly workers: number;
  readonly streams: number;
  readonly contextTokens: number;
  readonly promptTokens: number;
  readonly note: string | null;
  readonly nowMs: () => number;
}

/** The plan of so many workers, each of which gets a stage. @throws NoodleError as `planModel` */
export function planWorkers(input: LocalPlanInput): Promise<ModelPlan> {
  const { model, workers, streams, contextTokens, promptTokens, note, nowMs } = input;
  const nodes = listNodes(input.costs, workers);
  const cluster = makeLocalCluster(nodes, { intoMs: [], backMs: NOMINAL_MS });
  const hops = `hops between processes are taken as ${NOMINAL_MS} ms; the simulation takes what a first request measures`;
  return planModel(
    {
      model,
      cluster,
      nodes,
      objective: "throughput",
      workload: { streams, contextTokens, promptTokens },
      everyNode: true,
      notes: note === null ? [hops] : [hops, note],
    },
    { nowMs },
  );
}

/** The plan of one process with the whole model: no hops at all. */
export function planAlone(input: LocalPlanInput): Promise<ModelPlan> {
  const { model, streams, contextTokens, promptTokens, nowMs } = input;
  const nodes = listNodes(input.costs, 1);
  return planModel(
    {
      model,
      cluster: makeLocalCluster(nodes, null),
      nodes,
      objective: "throughput",
      workload: { streams, contextTokens, promptTokens },
    },
    { nowMs },
  );
}

export function listNodes(costs: CostModelDocument, workers: number): PlacementNode[] {
  const shared = new CostModel(costs);
  return Array.from({ length: workers }, (_, index) => ({
    name: `worker-${index + 1}`,
    costs: shared,
    memoryBytes: null,
    source: "measured",
    words: "this machine",
  }));
}

/** @param hops null = nothing lies between anything */
export function makeLocalCluster(nodes: readonly PlacementNode[], hops: LocalHops | null): Cluster {
  const names = nodes.map(({ name }) => name);
  const home = hops === null ? null : COORDINATOR;
  const pairs =
    hops === null || hops.intoMs.length === 0
      ? []
      : [
          ...names.map((to, index) => ({
            from: names[index - 1] ?? COORDINATOR,
            to,
            link: makeLink(hops.intoMs[index] ?? NOMINAL_MS),
          })),
          { from: names.at(-1) ?? "", to: COORDINATOR, link: makeLink(hops.backMs) },
        ];
  return {
    name: "this machine",
    coordinator: home,
    nodes: nodes.map(({ name }) => ({
      name,
      kind: "real",
      address: null,
      memoryBytes: null,
      overheadMs: 0,
      costs: { type: "none" },
    })),
    links: { default: makeLink(hops === null ? 0 : NOMINAL_MS), pairs },
    slowdowns: [],
    failures: [],
  };
}

function makeLink(latencyMs: number): Link {
  return { latencyMs, bytesPerMs: LOCAL_BYTES_PER_MS, jitterMs: 0, lossRatio: 0, lossBurstMs: 0 };
}

/** What the hops took while a first request was served; its computing is not looked at. */
export function measureHops({ stages, decodeTokensPerSec }: Generation): LocalHops {
  const intoMs = stages.map(({ hopMsP50, queueMsP50 }) => (hopMsP50 ?? 0) + queueMsP50);
  const tokenMs = decodeTokensPerSec > 0 ? 1000 / decodeTokensPerSec : 0;
  const computeMs = sum(stages.map(({ computeMsP50 }) => computeMsP50));
  return { intoMs, backMs: Math.max(0, tokenMs - computeMs - sum(intoMs)) };
}
