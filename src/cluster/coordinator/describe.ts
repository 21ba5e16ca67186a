import { must } from "../../common/index.ts";
import { type ClusterState, formatUnits, judgeHealth, type NodeState, type Plan, planHolders } from "../state/index.ts";
import type { StageStats } from "./generate-event.ts";
import type { Session } from "./session.ts";

/** How far a cluster is on its way to being ready. */
export interface ReadyProgress {
  readonly expect: number;
  /** Workers that are there, standby included. */
  readonly joined: number;
  readonly readyStages: number;
  /** Weight bytes that workers have fetched or read, of the bytes known to be needed. */
  readonly bytesDone: number;
  readonly bytesTotal: number;
  /** What is waited for. */
  readonly reason: string;
}

export function describeProgress(state: ClusterState): ReadyProgress {
  const health = judgeHealth(state);
  const holders = planHolders(state);
  const sum = (value: (node: NodeState) => number): number => holders.reduce((total, node) => total + value(node), 0);
  return {
    expect: state.config.split.length,
    joined: [...state.nodes.values()].filter((node) => node.phase !== "lost").length,
    readyStages: holders.filter((node) => node.phase === "ready").length,
    bytesDone: sum((node) => node.stage?.bytesDone ?? 0),
    bytesTotal: sum((node) => node.stage?.bytesTotal ?? 0),
    reason: health.status === "ready" ? "the stages are being connected" : health.reason,
  };
}

/** What each stage did for a session; empty when the session's plan is not in force any more. */
export function describeStages(state: ClusterState, session: Session): readonly StageStats[] {
  if (state.plan?.epoch !== session.epoch) return [];
  return state.plan.stages.map(({ units, nodeId }, stage) => {
    const node = nodeId === null ? undefined : state.nodes.get(nodeId);
    const samples = session.times.samplesOf(stage);
    return {
      nodeId: nodeId ?? "",
      name: node?.name ?? formatUnits(units),
      units,
      computeMsP50: samples?.computeMs.median() ?? 0,
      queueMsP50: samples?.queueMs.median() ?? 0,
      hopMsP50: samples?.hopMs.median() ?? null,
      weightsBytes: node?.stage?.weightsBytes ?? 0,
      rssBytes: node?.rssBytes ?? 0,
    };
  });
}

/** The part of an assignment that differs from stage to stage. */
export interface StagePlace {
  readonly epoch: bigint;
  readonly stage: number;
  readonly stageCount: number;
  readonly firstUnit: number;
  readonly endUnit: number;
  /** Empty for the last stage. */
  readonly nextAddress: string;
  readonly nextNodeId: string;
}

export function placeStage(plan: Plan, holders: readonly NodeState[], stage: number): StagePlace {
  const { units } = must(plan.stages[stage], "stage of the plan");
  const next = holders[stage + 1];
  return {
    epoch: BigInt(plan.epoch),
    stage,
    stageCount: plan.stages.length,
    firstUnit: units.first,
    endUnit: units.end,
    nextAddress: next?.address ?? "",
    nextNodeId: next?.id ?? "",
  };
}
