import type { ErrorCode } from "../../common/index.ts";
import { formatUnits } from "./check-plan.ts";
import { drainingPlan, nextPlan, planHolders, restoringPlan } from "./next-plan.ts";
import { judgeWait, strandingFault } from "./sessions.ts";
import type { ClusterAction, ClusterState, Fault, Plan, Registration, SessionState } from "./types.ts";

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
    const follower = drainingPlan(state) ?? restoringPlan(state, nowMs);
    if (plan !== null) actions.push({ type: "assign", plan });
    else if (follower !== null) actions.push({ type: "replan", plan: follower });
  }
  for (const session of state.sessions.values()) actions.push(...decideSession(state, session, nowMs));
  return actions;
}

function decideSession(state: ClusterState, session: SessionState, nowMs: number): readonly ClusterAction[] {
  const { id: sessionId } = session;
  const overdue = judgeWait(state, session, nowMs);
  if (overdue !== null) return [{ type: "endSession", sessionId, fault: overdue }];
  if (session.stranded !== undefined) return [];
  const fault = strandingFault(state, session);
  if (fault === null) return [];
  return [{ type: (state.config.recoveryWaitMs ?? 0) === 0 ? "endSession" : "strand", sessionId, fault }];
}

/** The plan that waited for the end of all sessions, when they have ended; the way back goes with it. */
function drainedPlan({ next, plan, sessions, lastEpoch }: ClusterState): Plan | null {
  if (next === null || plan === null || next.mode !== "drain" || sessions.size > 0) return null;
  return { ...next.plan, epoch: lastEpoch + 1, fallback: plan.stages };
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
