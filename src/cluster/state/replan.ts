import { NoodleError } from "../../common/index.ts";
import { compareCanary } from "./canary.ts";
import { checkPlan, layoutKey } from "./check-plan.ts";
import { failureOf } from "./failure.ts";
import type { ClusterState, Fault, FormerPlan, NextPlan, NodeState, Plan, StageStatus } from "./types.ts";

/** How one plan follows another while a cluster serves. The one in force stays in force until the next can take over. */

/** @throws NoodleError ILLEGAL_STATE while another change is under way, without a plan in force, and for a bad plan */
export function applyReplanned(state: ClusterState, plan: Plan, mode: NextPlan["mode"]): ClusterState {
  if (state.next !== null || state.former !== null || state.plan === null || state.broken !== null) {
    throw new NoodleError("ILLEGAL_STATE", `plan ${plan.epoch} cannot be prepared now`);
  }
  checkPlan(state, plan);
  return { ...state, next: { plan, mode, reports: new Map() }, refused: null, lastEpoch: plan.epoch };
}

/** What a holder of the next plan says. Only the next plan depends on it. */
export function takeNextReport(state: ClusterState, node: NodeState, report: StageStatus): ClusterState {
  const { next } = state;
  const held = next?.plan.stages.find((stage) => stage.nodeId === node.id);
  if (next === null || held === undefined || next.mode === "drain") return state;
  if (report.phase === "failed" || report.phase === "restarting") {
    const fault = failureOf(node, report);
    return fault.code === "MEMORY_INSUFFICIENT" ? drainInstead(state, next) : refuseNext(state, fault);
  }
  const { canaries, fault } = compareCanary(state, node, held.units, report);
  if (fault !== null) return refuseNext(state, fault);
  return { ...state, canaries, next: { ...next, reports: new Map(next.reports).set(node.id, report) } };
}

/** True when every stage of the next plan is loaded beside those in force. */
export function isNextReady({ next }: ClusterState): boolean {
  if (next === null || next.mode === "drain") return false;
  return next.plan.stages.every(({ nodeId }) => nodeId !== null && next.reports.get(nodeId)?.phase === "ready");
}

/** The next plan comes into force; sessions of the one before go on until they end. */
export function applySwitched(state: ClusterState, epoch: number): ClusterState {
  const { next, plan } = state;
  if (next === null || plan === null || next.plan.epoch !== epoch || !isNextReady(state)) return state;
  const nodes = new Map(state.nodes);
  const formerReports = new Map<string, StageStatus>();
  for (const node of state.nodes.values()) {
    if (node.phase === "lost") continue;
    if (node.stage?.epoch === plan.epoch) formerReports.set(node.id, node.stage);
    const stage = next.reports.get(node.id) ?? null;
    const phase = node.phase === "draining" ? "draining" : stage === null ? "standby" : "ready";
    nodes.set(node.id, { ...node, phase, stage });
  }
  const former: FormerPlan = { plan, reports: formerReports, broken: null };
  return { ...state, nodes, plan: next.plan, next: null, former };
}

/** The plan in force stays; the next one is forgotten, with its reason. */
export function refuseNext(state: ClusterState, fault: Fault): ClusterState {
  const { next, refusedLayouts } = state;
  if (next === null) return state;
  const tried = new Set(refusedLayouts).add(layoutKey(next.plan.stages));
  return { ...state, next: null, refused: fault, refusedLayouts: tried };
}

export function endFormer(state: ClusterState): ClusterState {
  return { ...state, former: null };
}

/** A node has no room for both stages: what was loaded goes, and its plan waits for the last session's end. */
function drainInstead(state: ClusterState, next: NextPlan): ClusterState {
  const epoch = state.lastEpoch + 1;
  const plan = { ...next.plan, epoch };
  return { ...state, next: { plan, mode: "drain", reports: new Map() }, lastEpoch: epoch };
}
