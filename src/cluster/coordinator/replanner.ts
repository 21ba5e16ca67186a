import { NoodleError } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";
import {
  type ClusterState,
  drainingPlan,
  formatUnits,
  judgeHealth,
  type Plan,
  type PlannedStage,
} from "../state/index.ts";
import type { Control } from "./control.ts";
import type { ModelSource } from "./model-source.ts";
import { countNewBytes, findNode, placeWanted, type WantedPlan } from "./replan-request.ts";

/** `noodle.replan.v1`: what a new plan changes. */
export interface ReplanDocument {
  readonly schema: "noodle.replan.v1";
  readonly dry_run: boolean;
  /** False where the plan in force is already this one: then nothing is done. */
  readonly changes: boolean;
  /** Of the new plan; null for a dry run, and where nothing changes. */
  readonly epoch: number | null;
  readonly from: ReplanSide;
  readonly to: ReplanSide;
  readonly moves: readonly ReplanMove[];
  /** Weights of units that their new holders do not serve now. What is in their stores, or in reach as a file, is not sent. */
  readonly new_bytes: number;
  readonly reason: string;
}

export interface ReplanSide {
  readonly split: string;
  /** Names of the holders, in order. */
  readonly order: readonly string[];
}

export interface ReplanMove {
  readonly node: string;
  /** `A:B`; null = none. */
  readonly from: string | null;
  readonly to: string | null;
  readonly new_bytes: number;
}

export interface ReplanOptions {
  /** Checks and tells, and changes nothing. @default false */
  readonly dryRun?: boolean;
}

const MAX_REASON_CHARS = 500;

/**
 * Asks for another plan. It is prepared beside the one in force, which serves until the new one can take over; new
 * sessions are the new plan's then, and those that run end where they began.
 *
 * @throws CLUSTER_NOT_READY while a plan is not in force, or another change is under way; PLAN_INVALID, SPLIT_INVALID,
 * PLAN_INFEASIBLE
 */
export function requestReplan(
  control: Control,
  source: ModelSource,
  wanted: WantedPlan,
  reason: string,
  { dryRun = false }: ReplanOptions = {},
): ReplanDocument {
  const { state } = control;
  const plan = requireSteady(state);
  const stages = placeWanted(state, source, wanted);
  const changes = describeSplit(stages) !== describeSplit(plan.stages) || !haveSameHolders(stages, plan.stages);
  const document = { ...describeMoves(state, source, plan.stages, stages), dry_run: dryRun, changes };
  const words = reason.slice(0, MAX_REASON_CHARS);
  if (dryRun || !changes) return { schema: "noodle.replan.v1", ...document, epoch: null, reason: words };
  const epoch = state.lastEpoch + 1;
  control.dispatch({
    type: "replanned",
    plan: { epoch, stages, terms: wanted.terms, reason: words },
    mode: "beside",
  });
  return { schema: "noodle.replan.v1", ...document, epoch, reason: words };
}

/**
 * Gives the units of a node to others; it gets none any more until it is started again.
 *
 * @throws CLUSTER_NOT_READY as `requestReplan`; PLAN_INVALID for an unknown node; PLAN_INFEASIBLE when nobody has room
 */
export function requestDrain(
  control: Control,
  source: ModelSource,
  name: string,
  { dryRun = false }: ReplanOptions = {},
): ReplanDocument {
  const { state } = control;
  const plan = requireSteady(state);
  const node = findNode(
    [...state.nodes.values()].filter(({ phase }) => phase !== "lost"),
    name,
  );
  const { id: nodeId, incarnation } = node;
  const leaving: ClusterState = { ...state, nodes: new Map(state.nodes).set(nodeId, { ...node, phase: "draining" }) };
  const isHolder = plan.stages.some((stage) => stage.nodeId === nodeId);
  const next = isHolder ? drainingPlan(leaving) : null;
  if (isHolder && next === null) {
    const text = `nothing can take the units of worker ${node.name}: no other worker is there that has room for them`;
    throw new NoodleError("PLAN_INFEASIBLE", text, { details: { nodeId } });
  }
  const document = {
    schema: "noodle.replan.v1" as const,
    ...describeMoves(state, source, plan.stages, next?.stages ?? plan.stages),
    dry_run: dryRun,
    changes: isHolder,
    reason: next?.reason ?? `worker ${node.name} leaves`,
  };
  if (dryRun) return { ...document, epoch: null };
  control.dispatch({ type: "leaving", nodeId, incarnation });
  return { ...document, epoch: control.state.next?.plan.epoch ?? null };
}

function requireSteady(state: ClusterState): Plan {
  const { plan, next, former } = state;
  if (next !== null) {
    const text = `plan ${next.plan.epoch} is being prepared: wait until it is in force (noodle status)`;
    throw new NoodleError("CLUSTER_NOT_READY", text);
  }
  if (former !== null) {
    const text = `sessions still run on plan ${former.plan.epoch}: wait for their end (noodle status)`;
    throw new NoodleError("CLUSTER_NOT_READY", text);
  }
  const health = judgeHealth(state);
  if (plan === null || health.status !== "ready") {
    const why = health.status === "ready" ? "there is no plan yet" : health.reason;
    throw new NoodleError("CLUSTER_NOT_READY", `a plan can follow only one that serves: ${why}`);
  }
  return plan;
}

function describeMoves(
  state: ClusterState,
  source: ModelSource,
  before: readonly PlannedStage[],
  after: readonly PlannedStage[],
): Pick<ReplanDocument, "from" | "to" | "moves" | "new_bytes"> {
  const nameOf = (nodeId: string | null): string => state.nodes.get(nodeId ?? "")?.name ?? "?";
  const ids = new Set([...before, ...after].map(({ nodeId }) => nodeId));
  const moves = [...ids].flatMap((nodeId): ReplanMove[] => {
    const from = unitsOf(before, nodeId);
    const to = unitsOf(after, nodeId);
    if (from !== null && to !== null && formatUnits(from) === formatUnits(to)) return [];
    const newBytes = to === null ? 0 : countNewBytes(source, to, from);
    return [
      {
        node: nameOf(nodeId),
        from: from === null ? null : formatUnits(from),
        to: to === null ? null : formatUnits(to),
        new_bytes: newBytes,
      },
    ];
  });
  const side = (stages: readonly PlannedStage[]): ReplanSide => ({
    split: describeSplit(stages),
    order: stages.map(({ nodeId }) => nameOf(nodeId)),
  });
  return {
    from: side(before),
    to: side(after),
    moves,
    new_bytes: moves.reduce((total, move) => total + move.new_bytes, 0),
  };
}

function unitsOf(stages: readonly PlannedStage[], nodeId: string | null): UnitRange | null {
  return stages.find((stage) => stage.nodeId === nodeId)?.units ?? null;
}

function describeSplit(stages: readonly PlannedStage[]): string {
  return stages.map(({ units }) => formatUnits(units)).join(",");
}

function haveSameHolders(a: readonly PlannedStage[], b: readonly PlannedStage[]): boolean {
  return a.length === b.length && a.every(({ nodeId }, index) => nodeId === b[index]?.nodeId);
}
