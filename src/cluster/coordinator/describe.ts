import { must } from "../../common/index.ts";
import {
  type ClusterState,
  formatUnits,
  judgeHealth,
  type NodeState,
  type Plan,
  planHolders,
  type StageStatus,
} from "../state/index.ts";
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
    expect: state.plan?.stages.length ?? state.config.split.length,
    joined: [...state.nodes.values()].filter((node) => node.phase !== "lost").length,
    readyStages: holders.filter((node) => node.phase === "ready").length,
    bytesDone: sum((node) => node.stage?.bytesDone ?? 0),
    bytesTotal: sum((node) => node.stage?.bytesTotal ?? 0),
    reason: health.status === "ready" ? "the stages are being connected" : health.reason,
  };
}

/** What each stage did for a session; empty when the session's plan is over. */
export function describeStages(state: ClusterState, session: Session): readonly StageStats[] {
  const plan = [state.plan, state.former?.plan].find((known) => known?.epoch === session.epoch);
  return (plan?.stages ?? []).map(({ units, nodeId }, stage) => {
    const node = nodeId === null ? undefined : state.nodes.get(nodeId);
    const samples = session.times.samplesOf(stage);
    return {
      nodeId: nodeId ?? "",
      name: node?.name ?? formatUnits(units),
      units,
      computeMsP50: samples?.computeMs.median() ?? 0,
      queueMsP50: samples?.queueMs.median() ?? 0,
      hopMsP50: samples?.hopMs.median() ?? null,
      weightsBytes: reportOf(state, session.epoch, node)?.weightsBytes ?? 0,
      rssBytes: node?.rssBytes ?? 0,
    };
  });
}

/** What a node said of its stage of a plan that serves. */
function reportOf(state: ClusterState, epoch: number, node: NodeState | undefined): StageStatus | null {
  if (node === undefined) return null;
  return state.former?.plan.epoch === epoch ? (state.former.reports.get(node.id) ?? null) : node.stage;
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
  /** Empty for the first. */
  readonly previousNodeId: string;
}

export function placeStage(plan: Plan, nodes: ReadonlyMap<string, NodeState>, stage: number): StagePlace {
  const { units } = must(plan.stages[stage], "stage of the plan");
  const next = nodes.get(plan.stages[stage + 1]?.nodeId ?? "");
  return {
    epoch: BigInt(plan.epoch),
    stage,
    stageCount: plan.stages.length,
    firstUnit: units.first,
    endUnit: units.end,
    nextAddress: next?.address ?? "",
    nextNodeId: next?.id ?? "",
    previousNodeId: plan.stages[stage - 1]?.nodeId ?? "",
  };
}
