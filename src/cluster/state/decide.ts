import type { ErrorCode } from "../../common/index.ts";
import { formatUnits } from "./check-plan.ts";
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
    const plan = drainedPlan(state) ?? nextPlan(state);
    if (plan !== null) actions.push({ type: "assign", plan });
  }
  for (const session of state.sessions.values()) {
    const fault = sessionFault(state, session.epoch);
    if (fault !== null) actions.push({ type: "endSession", sessionId: session.id, fault });
  }
  return actions;
}

function sessionFault(state: ClusterState, epoch: number): Fault | null {
  if (state.former?.plan.epoch === epoch) return state.former.broken;
  if (state.plan?.epoch === epoch) return state.broken;
  if (state.broken !== null) return state.broken;
  if (state.plan !== null) {
    return {
      code: "STALE_EPOCH",
      message: `the session belongs to plan ${epoch}, the plan is ${state.plan.epoch} now`,
      nodeId: "",
    };
  }
  return null;
}

/** The plan that waited for the end of all sessions, when they have ended; the way back goes with it. */
function drainedPlan({ next, plan, sessions, lastEpoch }: ClusterState): Plan | null {
  if (next === null || plan === null || next.mode !== "drain" || sessions.size > 0) return null;
  return { ...next.plan, epoch: lastEpoch + 1, fallback: plan.stages };
}

/**
 * A plan for a new epoch, when there is need of one and every stage finds a holder. A stage keeps its holder, or gets
 * back the one of the last start, since it has the file; the others are filled in join order.
 */
function nextPlan(state: ClusterState): Plan | null {
  const { plan, config } = state;
  const holding = planHolders(state);
  // It goes away soon: a plan made now would be the next to break.
  if (holding.some((node) => node.phase === "draining")) return null;
  const whole = plan !== null && holding.length === plan.stages.length;
  const repaired = state.broken !== null && holding.every((node) => node.phase === "ready");
  if (whole && !repaired) return null;
  const former = whole ? plan.stages : formerStages(state);
  const holders = new Set(former.map((stage) => stage.nodeId));
  const spare = [...state.nodes.values()]
    .filter((node) => (node.phase === "joining" || node.phase === "standby") && !holders.has(node.id))
    .sort((a, b) => a.joinOrder - b.joinOrder);
  const take = (units: string, fits: (node: NodeState) => boolean): string | null => {
    const index = spare.findIndex((node) => !node.failedUnits.includes(units) && fits(node));
    const [node] = index < 0 ? [] : spare.splice(index, 1);
    return node?.id ?? null;
  };
  const { order } = config;
  if (plan === null && order !== undefined) {
    const named = former.map(({ units }, stage): PlannedStage => {
      return { units, nodeId: take(formatUnits(units), (node) => node.name === order[stage]) };
    });
    if (named.some(({ nodeId }) => nodeId === null)) return null;
    return { epoch: state.lastEpoch + 1, stages: named, terms: config.terms ?? null };
  }
  const returned = former.map(({ units, nodeId }): PlannedStage => {
    const text = formatUnits(units);
    return { units, nodeId: nodeId ?? take(text, (node) => node.id === config.formerHolders?.get(text)) };
  });
  const stages = returned.map(
    ({ units, nodeId }): PlannedStage => ({ units, nodeId: nodeId ?? take(formatUnits(units), () => true) }),
  );
  if (stages.some(({ nodeId }) => nodeId === null)) return null;
  // What was promised was promised of these nodes.
  const isSame =
    plan !== null && stages.every(({ units, nodeId }, stage) => isStage(plan.stages[stage], units, nodeId));
  return { epoch: state.lastEpoch + 1, stages, terms: isSame ? (plan.terms ?? null) : null };
}

function isStage(stage: PlannedStage | undefined, units: PlannedStage["units"], nodeId: string | null): boolean {
  return stage !== undefined && formatUnits(stage.units) === formatUnits(units) && stage.nodeId === nodeId;
}

/** Stages that want holders: those of the plan, of the one that it could not follow, or of the start. */
function formerStages({ plan, config, nodes }: ClusterState): readonly PlannedStage[] {
  if (plan === null) return config.split.map((units) => ({ units, nodeId: null }));
  if (plan.fallback === undefined) return plan.stages;
  return plan.fallback.map(({ units, nodeId }): PlannedStage => {
    const phase = nodeId === null ? undefined : nodes.get(nodeId)?.phase;
    return { units, nodeId: phase === undefined || phase === "lost" || phase === "draining" ? null : nodeId };
  });
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
    const joined = `${present.length} of ${config.split.length} workers have joined`;
    const missing = (config.order ?? []).filter((name) => !present.some((node) => node.name === name));
    const reason = missing.length === 0 ? joined : `${joined}; the plan waits for ${missing.join(", ")}`;
    return { status: "waiting", reason, fault: null };
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
