import type { ErrorCode } from "../../common/index.ts";
import { formatUnits } from "./apply.ts";
import type { ClusterAction, ClusterState, Fault, NodeState, Plan, PlannedStage, Registration } from "./types.ts";

/**
 * What the coordinator must do now. Calling it again before the actions were carried out gives the same actions.
 *
 * @param nowMs monotonic time, on the clock of the events
 */
export function decide(state: ClusterState, nowMs: number): readonly ClusterAction[] {
  const actions: ClusterAction[] = [];
  for (const node of state.nodes.values()) {
    const silentMs = nowMs - node.lastHeardMs;
    if (node.phase === "lost" || silentMs < state.config.leaseMs) continue;
    const fault: Fault = {
      code: "PEER_STALLED",
      message: `worker ${node.name} (${node.id}) was silent for ${Math.round(silentMs)} ms, the lease is ${state.config.leaseMs} ms`,
      nodeId: node.id,
    };
    actions.push({ type: "expire", nodeId: node.id, incarnation: node.incarnation, fault });
  }
  // A plan is made from nodes that are known to be there: leases come first.
  if (actions.length === 0) {
    const plan = nextPlan(state);
    if (plan !== null) actions.push({ type: "assign", plan });
  }
  for (const session of state.sessions.values()) {
    const fault = sessionFault(state, session.epoch);
    if (fault !== null) actions.push({ type: "endSession", sessionId: session.id, fault });
  }
  return actions;
}

function sessionFault(state: ClusterState, epoch: number): Fault | null {
  if (state.broken !== null) return state.broken;
  if (state.plan !== null && state.plan.epoch !== epoch) {
    return {
      code: "STALE_EPOCH",
      message: `the session belongs to plan ${epoch}, the plan is ${state.plan.epoch} now`,
      nodeId: "",
    };
  }
  return null;
}

/**
 * A plan for a new epoch, when there is need of one and every stage finds a holder. A stage keeps its holder, or gets
 * back the one of the last start, since it has the file; the others are filled in join order.
 */
function nextPlan(state: ClusterState): Plan | null {
  const { plan, config } = state;
  const former: readonly PlannedStage[] = plan?.stages ?? config.split.map((units) => ({ units, nodeId: null }));
  const holding = planHolders(state);
  // It goes away soon: a plan made now would be the next to break.
  if (holding.some((node) => node.phase === "draining")) return null;
  const whole = holding.length === former.length;
  const repaired = state.broken !== null && holding.every((node) => node.phase === "ready");
  if (whole && !repaired) return null;
  const holders = new Set(former.map((stage) => stage.nodeId));
  const spare = [...state.nodes.values()]
    .filter((node) => (node.phase === "joining" || node.phase === "standby") && !holders.has(node.id))
    .sort((a, b) => a.joinOrder - b.joinOrder);
  const take = (units: string, fits: (node: NodeState) => boolean): string | null => {
    const index = spare.findIndex((node) => !node.failedUnits.includes(units) && fits(node));
    const [node] = index < 0 ? [] : spare.splice(index, 1);
    return node?.id ?? null;
  };
  const returned = former.map(({ units, nodeId }): PlannedStage => {
    const text = formatUnits(units);
    return { units, nodeId: nodeId ?? take(text, (node) => node.id === config.formerHolders?.get(text)) };
  });
  const stages = returned.map(
    ({ units, nodeId }): PlannedStage => ({ units, nodeId: nodeId ?? take(formatUnits(units), () => true) }),
  );
  if (stages.some(({ nodeId }) => nodeId === null)) return null;
  return { epoch: (plan?.epoch ?? config.firstEpoch) + 1, stages };
}

export interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Why this worker may not join, or null. Nothing of it enters the state when it is refused. */
export function judgeRegistration(state: ClusterState, registration: Registration): Refusal | null {
  const { protocolVersion } = state.config;
  const theirs = registration.capabilities;
  if (theirs.protocolVersion !== protocolVersion) {
    return {
      code: "PROTOCOL_MISMATCH",
      message: `worker ${registration.name} speaks protocol version ${theirs.protocolVersion}, this coordinator speaks ${protocolVersion}`,
    };
  }
  const build = state.config.engineBuild ?? firstBuild(state, registration.nodeId);
  if (build !== null && theirs.engineBuild !== build) {
    return {
      code: "BUILD_MISMATCH",
      message: `worker ${registration.name} has engine build "${theirs.engineBuild}", the cluster runs "${build}"`,
    };
  }
  return null;
}

/** Build of the nodes that are there, other than the one that asks. */
function firstBuild(state: ClusterState, nodeId: string): string | null {
  for (const node of state.nodes.values()) {
    if (node.phase !== "lost" && node.id !== nodeId) return node.capabilities.engineBuild;
  }
  return null;
}

export type Health =
  | { readonly status: "ready" }
  /** Workers are missing or at work; `fault` says what broke the last plan. */
  | { readonly status: "waiting"; readonly reason: string; readonly fault: Fault | null }
  /** A stage failed and no other node can take it. */
  | { readonly status: "failed"; readonly reason: string; readonly fault: Fault };

export function judgeHealth(state: ClusterState): Health {
  const { plan, config } = state;
  const present = [...state.nodes.values()].filter((node) => node.phase !== "lost");
  if (plan === null) {
    return {
      status: "waiting",
      reason: `${present.length} of ${config.split.length} workers have joined`,
      fault: null,
    };
  }
  const vacant = plan.stages.filter((stage) => stage.nodeId === null).map((stage) => formatUnits(stage.units));
  if (vacant.length > 0) {
    const failed = present.find((node) => node.failedUnits.some((units) => vacant.includes(units)));
    if (failed !== undefined && failed.fault !== null) {
      return { status: "failed", reason: failed.fault.message, fault: failed.fault };
    }
    return { status: "waiting", reason: state.broken?.message ?? "a stage has no holder", fault: state.broken };
  }
  if (state.broken !== null) return { status: "waiting", reason: state.broken.message, fault: state.broken };
  const notReady = planHolders(state).filter((node) => node.phase !== "ready");
  const [first] = notReady;
  if (first === undefined) return { status: "ready" };
  return {
    status: "waiting",
    reason: `${plan.stages.length - notReady.length} of ${plan.stages.length} stages are ready; worker ${first.name} is ${first.stage?.phase ?? first.phase}`,
    fault: null,
  };
}

/** Holders of the plan's stages in order; vacant stages are left out. */
export function planHolders(state: ClusterState): readonly NodeState[] {
  return (state.plan?.stages ?? []).flatMap((stage) => {
    const node = stage.nodeId === null ? undefined : state.nodes.get(stage.nodeId);
    return node === undefined ? [] : [node];
  });
}
