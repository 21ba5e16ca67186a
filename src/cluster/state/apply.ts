import type { UnitRange } from "../../engine/index.ts";
import { compareCanary } from "./canary.ts";
import { checkPlan, formatUnits } from "./check-plan.ts";
import { failureOf } from "./failure.ts";
import { applyReplanned, applySwitched, endFormer, refuseNext, takeNextReport } from "./replan.ts";
import { applySession } from "./sessions.ts";
import type {
  ClusterConfig,
  ClusterEvent,
  ClusterState,
  Fault,
  NodeState,
  Plan,
  PlannedStage,
  Registration,
  StageStatus,
} from "./types.ts";

/** Lost nodes that stay visible in the status; older ones are forgotten. */
const LOST_NODES_KEPT = 32;

export function createState(config: ClusterConfig): ClusterState {
  return {
    config,
    nodes: new Map(),
    nextJoinOrder: 0,
    plan: null,
    broken: null,
    lastFault: null,
    next: null,
    former: null,
    refused: null,
    refusedLayouts: new Set(),
    lastEpoch: config.firstEpoch,
    sessions: new Map(),
    canaries: new Map(),
  };
}

/**
 * The state after an event. Events of a former incarnation of a node change nothing.
 *
 * @throws NoodleError ILLEGAL_STATE for a plan that breaks a rule (epoch not above the last, a unit twice or missing, a
 * holder that is not there) and for a session in a taken slot
 */
export function apply(state: ClusterState, event: ClusterEvent): ClusterState {
  switch (event.type) {
    case "registered":
      return applyRegistered(state, event.registration, event.nowMs);
    case "heartbeat":
      return updateNode(state, event, (node) => ({
        ...node,
        lastHeardMs: event.nowMs,
        rssBytes: event.rssBytes,
        sessions: event.sessions,
      }));
    case "stageReported":
      return applyStageReported(state, event);
    case "leaving":
      return updateNode(state, event, (node) => ({ ...node, phase: "draining" }));
    case "lost":
      return applyLost(state, event);
    case "pipelineBroken":
      if (event.epoch === state.next?.plan.epoch) return refuseNext(state, event.fault);
      if (event.epoch === state.former?.plan.epoch) return breakFormer(state, event.fault);
      if (event.epoch !== state.plan?.epoch || state.broken !== null) return state;
      return breakPlan(state, event.fault);
    case "replanned":
      return applyReplanned(state, event.plan, event.mode);
    case "switched":
      return applySwitched(state, event.epoch);
    case "replanFailed":
      return event.epoch === state.next?.plan.epoch ? refuseNext(state, event.fault) : state;
    case "formerEnded":
      return event.epoch === state.former?.plan.epoch ? endFormer(state) : state;
    case "planned":
      return applyPlanned(state, event.plan);
    case "lagged":
      return {
        ...state,
        nodes: new Map(
          [...state.nodes].map(([id, node]) => [id, { ...node, lastHeardMs: node.lastHeardMs + event.lagMs }]),
        ),
      };
    case "sessionOpened":
    case "sessionClosed":
    case "sessionStranded":
    case "sessionMoved":
      return { ...state, sessions: applySession(state.sessions, event) };
    default:
      return event satisfies never;
  }
}

/** Node of the event, unless the event comes from a start of it that is over. */
function currentNode(state: ClusterState, event: { nodeId: string; incarnation: string }): NodeState | undefined {
  const node = state.nodes.get(event.nodeId);
  return node !== undefined && node.incarnation === event.incarnation && node.phase !== "lost" ? node : undefined;
}

function updateNode(
  state: ClusterState,
  event: { nodeId: string; incarnation: string },
  change: (node: NodeState) => NodeState,
): ClusterState {
  const node = currentNode(state, event);
  if (node === undefined) return state;
  return { ...state, nodes: new Map(state.nodes).set(node.id, change(node)) };
}

function applyRegistered(state: ClusterState, registration: Registration, nowMs: number): ClusterState {
  const former = state.nodes.get(registration.nodeId);
  let base = state;
  if (former !== undefined && former.phase !== "lost") {
    const fault: Fault = {
      code: "PEER_DEAD",
      message: `worker ${former.name} (${former.id}) was started again`,
      nodeId: former.id,
    };
    base = applyLost(state, { nodeId: former.id, incarnation: former.incarnation, fault });
  }
  const node: NodeState = {
    id: registration.nodeId,
    name: registration.name,
    address: registration.address,
    pid: registration.pid,
    incarnation: registration.incarnation,
    phase: base.plan?.stages.every((stage) => stage.nodeId !== null) === true ? "standby" : "joining",
    joinOrder: former?.joinOrder ?? base.nextJoinOrder,
    joinedMs: nowMs,
    losses: former === undefined ? 0 : former.losses + 1,
    lastHeardMs: nowMs,
    rssBytes: 0,
    sessions: 0,
    capabilities: registration.capabilities,
    stage: null,
    fault: null,
    failedUnits: [],
  };
  return {
    ...base,
    refusedLayouts: new Set(),
    nextJoinOrder: former === undefined ? base.nextJoinOrder + 1 : base.nextJoinOrder,
    nodes: new Map(base.nodes).set(node.id, node),
  };
}

function applyLost(state: ClusterState, event: { nodeId: string; incarnation: string; fault: Fault }): ClusterState {
  const node = currentNode(state, event);
  if (node === undefined) return state;
  const nodes = new Map(state.nodes);
  nodes.set(node.id, { ...node, phase: "lost", stage: null, fault: event.fault, sessions: 0 });
  const lost = [...nodes.values()]
    .filter((other) => other.phase === "lost")
    .sort((a, b) => a.lastHeardMs - b.lastHeardMs);
  for (const old of lost.slice(0, Math.max(0, lost.length - LOST_NODES_KEPT))) nodes.delete(old.id);
  return loseHolder({ ...state, nodes }, node.id, event.fault);
}

/** The plan in force is unusable until another epoch; one that was getting ready is not worth waiting for. */
function breakPlan(state: ClusterState, fault: Fault): ClusterState {
  return { ...refuseNext(state, fault), broken: state.broken ?? fault, lastFault: state.broken ?? fault };
}

function breakFormer(state: ClusterState, fault: Fault): ClusterState {
  const { former } = state;
  if (former === null) return state;
  return { ...state, former: { ...former, broken: former.broken ?? fault }, lastFault: fault };
}

/** The node is out: what it held, or was to hold, is nobody's. */
function loseHolder(state: ClusterState, nodeId: string, fault: Fault): ClusterState {
  let left = state;
  if (holds(left.former?.plan, nodeId)) left = breakFormer(left, fault);
  if (holds(left.next?.plan, nodeId)) left = refuseNext(left, fault);
  return vacate(left, nodeId, fault);
}

/** Takes the node's stage away from it. */
function vacate(state: ClusterState, nodeId: string, fault: Fault): ClusterState {
  const { plan } = state;
  if (plan === null || !holds(plan, nodeId)) return state;
  const node = state.nodes.get(nodeId);
  // Who takes it over computes as it did: how many threads there are can show in the bits.
  const threads = state.config.threads === 0 && state.sessions.size > 0 ? node?.capabilities.threads : undefined;
  const stages = plan.stages.map((stage) => {
    if (stage.nodeId !== nodeId) return stage;
    return { ...(threads === undefined || threads === 0 ? {} : { threads }), ...stage, nodeId: null };
  });
  return { ...breakPlan(state, fault), plan: { ...plan, stages } };
}

function holds(plan: Plan | null | undefined, nodeId: string): boolean {
  return plan?.stages.some((stage) => stage.nodeId === nodeId) === true;
}

function applyStageReported(
  state: ClusterState,
  event: { nodeId: string; incarnation: string; stage: StageStatus; nowMs: number },
): ClusterState {
  const node = currentNode(state, event);
  if (node === undefined) return state;
  const alive: NodeState = { ...node, lastHeardMs: event.nowMs };
  const heard = { ...state, nodes: new Map(state.nodes).set(node.id, alive) };
  const { epoch } = event.stage;
  if (epoch === state.next?.plan.epoch) return takeNextReport(heard, alive, event.stage);
  if (epoch === state.former?.plan.epoch) {
    return event.stage.phase === "ready" ? heard : breakFormer(heard, failureOf(node, event.stage));
  }
  const held = heldStage(state, node.id);
  if (held === null || epoch !== state.plan?.epoch) return heard;
  const report = event.stage;
  if (report.phase === "failed") return applyFailed(state, alive, held.units, report, failureOf(node, report));
  const { canaries, fault: mismatch } = compareCanary(state, node, held.units, report);
  if (mismatch !== null) return applyFailed(state, alive, held.units, report, mismatch);
  // A stage that was ready and is not, or is another process now, has lost the KV of every session.
  const restarted =
    report.phase === "restarting" ||
    (node.stage?.phase === "ready" && (report.phase !== "ready" || report.hostPid !== node.stage.hostPid));
  const servingPhase = report.phase === "ready" ? "ready" : "loading";
  const next: NodeState = { ...alive, stage: report, phase: node.phase === "draining" ? "draining" : servingPhase };
  const reported = { ...state, canaries, nodes: new Map(state.nodes).set(node.id, next) };
  if (restarted) return breakPlan(reported, failureOf(node, report));
  return forgetFallback(reported);
}

/** A plan whose stages have all been ready has proven itself: there is no way back from it. */
function forgetFallback(state: ClusterState): ClusterState {
  const { plan } = state;
  if (plan?.fallback === undefined) return state;
  const isReady = (nodeId: string | null): boolean => nodeId !== null && state.nodes.get(nodeId)?.phase === "ready";
  if (!plan.stages.every(({ nodeId }) => isReady(nodeId))) return state;
  const { fallback: _left, ...proven } = plan;
  return { ...state, plan: proven };
}

function applyFailed(
  state: ClusterState,
  node: NodeState,
  units: UnitRange,
  report: StageStatus,
  fault: Fault,
): ClusterState {
  const failed: NodeState = {
    ...node,
    phase: node.phase === "draining" ? "draining" : "standby",
    stage: { ...report, phase: "failed", error: fault },
    fault,
    failedUnits: [...node.failedUnits, formatUnits(units)],
  };
  return vacate({ ...state, nodes: new Map(state.nodes).set(node.id, failed) }, node.id, fault);
}

function heldStage(state: ClusterState, nodeId: string): PlannedStage | null {
  return state.plan?.stages.find((stage) => stage.nodeId === nodeId) ?? null;
}

function applyPlanned(state: ClusterState, plan: Plan): ClusterState {
  const holders = checkPlan(state, plan);
  const nodes = new Map(state.nodes);
  for (const node of state.nodes.values()) {
    if (node.phase === "lost" || node.phase === "draining") continue;
    const phase = holders.has(node.id) ? "loading" : "standby";
    nodes.set(node.id, { ...node, phase, stage: holders.has(node.id) ? null : node.stage });
  }
  return { ...state, nodes, plan, broken: null, next: null, former: null, lastEpoch: plan.epoch };
}
