import { NoodleError } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";
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
    sessions: new Map(),
    canaries: new Map(),
  };
}

export function formatUnits(units: UnitRange): string {
  return `${units.first}:${units.end}`;
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
      if (event.epoch !== state.plan?.epoch || state.broken !== null) return state;
      return { ...state, broken: event.fault };
    case "planned":
      return applyPlanned(state, event.plan);
    case "lagged":
      return {
        ...state,
        nodes: new Map(
          [...state.nodes].map(([id, node]) => [id, { ...node, lastHeardMs: node.lastHeardMs + event.lagMs }]),
        ),
      };
    case "sessionOpened": {
      for (const other of state.sessions.values()) {
        if (other.slot === event.session.slot) {
          throw new NoodleError("ILLEGAL_STATE", `slot ${other.slot} already belongs to session ${other.id}`);
        }
      }
      return { ...state, sessions: new Map(state.sessions).set(event.session.id, event.session) };
    }
    case "sessionClosed": {
      const sessions = new Map(state.sessions);
      sessions.delete(event.sessionId);
      return { ...state, sessions };
    }
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
  return vacate({ ...state, nodes }, node.id, event.fault);
}

/** Takes the node's stage away from it; the plan is unusable until another epoch. */
function vacate(state: ClusterState, nodeId: string, fault: Fault): ClusterState {
  const { plan } = state;
  if (plan === null || !plan.stages.some((stage) => stage.nodeId === nodeId)) return state;
  const stages = plan.stages.map((stage) => (stage.nodeId === nodeId ? { ...stage, nodeId: null } : stage));
  return { ...state, plan: { ...plan, stages }, broken: state.broken ?? fault };
}

function applyStageReported(
  state: ClusterState,
  event: { nodeId: string; incarnation: string; stage: StageStatus; nowMs: number },
): ClusterState {
  const node = currentNode(state, event);
  if (node === undefined) return state;
  const alive: NodeState = { ...node, lastHeardMs: event.nowMs };
  const held = heldStage(state, node.id);
  if (held === null || event.stage.epoch !== state.plan?.epoch) {
    return { ...state, nodes: new Map(state.nodes).set(node.id, alive) };
  }
  const report = event.stage;
  if (report.phase === "failed") return applyFailed(state, alive, held.units, report, failureOf(node, report));
  const canaries = new Map(state.canaries);
  if (report.phase === "ready" && report.canarySha256 !== "") {
    const key = canaryKey(state, node, held.units);
    const known = canaries.get(key);
    if (known !== undefined && known.sha256 !== report.canarySha256) {
      const fault: Fault = {
        code: "CANARY_MISMATCH",
        message:
          `worker ${node.name} (${node.id}) got ${report.canarySha256} in the self-test of units ` +
          `${formatUnits(held.units)}, ${known.nodeId === node.id ? "earlier" : `worker ${known.nodeId}`} it was ${known.sha256}`,
        nodeId: node.id,
      };
      return applyFailed(state, alive, held.units, report, fault);
    }
    if (known === undefined) canaries.set(key, { sha256: report.canarySha256, nodeId: node.id });
  }
  // A stage that was ready and is not, or is another process now, has lost the KV of every session.
  const restarted =
    report.phase === "restarting" ||
    (node.stage?.phase === "ready" && (report.phase !== "ready" || report.hostPid !== node.stage.hostPid));
  const servingPhase = report.phase === "ready" ? "ready" : "loading";
  const next: NodeState = { ...alive, stage: report, phase: node.phase === "draining" ? "draining" : servingPhase };
  return {
    ...state,
    canaries,
    nodes: new Map(state.nodes).set(node.id, next),
    broken: state.broken ?? (restarted ? failureOf(node, report) : null),
  };
}

function failureOf(node: NodeState, report: StageStatus): Fault {
  if (report.error !== null) return { ...report.error, nodeId: node.id };
  return report.phase === "failed"
    ? { code: "ENGINE_FAILED", message: `worker ${node.name} (${node.id}) could not serve its stage`, nodeId: node.id }
    : {
        code: "ENGINE_ABORTED",
        message: `the engine process of worker ${node.name} (${node.id}) died`,
        nodeId: node.id,
      };
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

function canaryKey(state: ClusterState, node: NodeState, units: UnitRange): string {
  const { engineBuild, cpuVariant, threads } = node.capabilities;
  const { config } = state;
  const variant = config.cpuVariant === "" ? cpuVariant : config.cpuVariant;
  return JSON.stringify([formatUnits(units), engineBuild, variant, config.threads === 0 ? threads : config.threads]);
}

function applyPlanned(state: ClusterState, plan: Plan): ClusterState {
  const lastEpoch = state.plan?.epoch ?? state.config.firstEpoch;
  if (plan.epoch <= lastEpoch) {
    throw new NoodleError("ILLEGAL_STATE", `plan epoch ${plan.epoch} is not above ${lastEpoch}`);
  }
  const holders = new Set<string>();
  let unit = 0;
  for (const { units, nodeId } of plan.stages) {
    const node = nodeId === null ? undefined : state.nodes.get(nodeId);
    if (
      units.first !== unit ||
      units.end <= units.first ||
      node === undefined ||
      node.phase === "lost" ||
      holders.has(node.id)
    ) {
      throw new NoodleError(
        "ILLEGAL_STATE",
        `plan ${plan.epoch}: stage ${formatUnits(units)} of ${nodeId} breaks the plan's rules`,
      );
    }
    holders.add(node.id);
    unit = units.end;
  }
  const nodes = new Map(state.nodes);
  for (const node of state.nodes.values()) {
    if (node.phase === "lost" || node.phase === "draining") continue;
    const phase = holders.has(node.id) ? "loading" : "standby";
    nodes.set(node.id, { ...node, phase, stage: holders.has(node.id) ? null : node.stage });
  }
  return { ...state, nodes, plan, broken: null };
}
