import type { EventRecord, NodeRecord, PlanRecord } from "../../observe/index.ts";
import { type ClusterState, formatUnits, type NodeState, type Plan } from "../state/index.ts";

export interface StateRecords {
  readonly events: readonly EventRecord[];
  /** Nodes that are in another state than before. */
  readonly nodes: readonly NodeRecord[];
  readonly plan: PlanRecord | null;
}

/** What happened between two states, in the words of the observers. Pure. */
export function describeChanges(before: ClusterState, after: ClusterState): StateRecords {
  const events: EventRecord[] = [];
  const nodes: NodeRecord[] = [];
  if (before.nodes !== after.nodes) {
    for (const node of after.nodes.values()) {
      const former = before.nodes.get(node.id);
      if (former === node) continue;
      events.push(...describeNodeChange(former, node));
      if (former?.phase !== node.phase || former.incarnation !== node.incarnation)
        nodes.push(describeNode(after, node));
    }
  }
  const { plan } = after;
  const planned = plan !== null && plan.epoch !== before.plan?.epoch;
  if (after.broken !== null && after.broken !== before.broken) {
    const { code, message, nodeId } = after.broken;
    events.push(makeEvent("plan.broken", "error", nodeId, message, { code, epoch: plan?.epoch ?? null }));
  }
  return { events, nodes, plan: planned ? describePlan(plan, giveReason(before, after)) : null };
}

export function describeNode(state: ClusterState, node: NodeState): NodeRecord {
  const held = state.plan?.stages.find((stage) => stage.nodeId === node.id);
  const stage = held === undefined ? null : node.stage;
  return {
    nodeId: node.id,
    name: node.name,
    units: held === undefined ? null : formatUnits(held.units),
    state: node.phase,
    rssBytes: node.rssBytes,
    weightsBytes: stage?.weightsBytes ?? 0,
    kvBytes: stage?.kvBytes ?? 0,
    computeBytes: stage?.computeBytes ?? 0,
    sessions: node.sessions,
  };
}

export function makeEvent(
  name: string,
  severity: EventRecord["severity"],
  nodeId: string | null,
  message: string,
  details: EventRecord["details"] = {},
): EventRecord {
  return { name, severity, nodeId: nodeId === "" ? null : nodeId, message, details };
}

function describePlan(plan: Plan, reason: string): PlanRecord {
  return {
    epoch: plan.epoch,
    split: plan.stages.map(({ units }) => formatUnits(units)).join(","),
    stages: plan.stages.map(({ units, nodeId }, stage) => ({ stage, nodeId, units: formatUnits(units) })),
    reason,
  };
}

/** Why there is a new plan: what broke the one before, which a single step may have put right already. */
function giveReason(before: ClusterState, after: ClusterState): string {
  if (after.plan?.reason !== undefined) return after.plan.reason;
  if (before.plan === null) return `${after.config.split.length} workers are there`;
  if (before.broken !== null) return before.broken.message;
  for (const { nodeId } of before.plan.stages) {
    const fault = nodeId === null ? null : (after.nodes.get(nodeId)?.fault ?? null);
    if (fault !== null) return fault.message;
  }
  return "the plan before it could not go on";
}

function describeNodeChange(former: NodeState | undefined, node: NodeState): readonly EventRecord[] {
  const events: EventRecord[] = [];
  const who = `worker ${node.name} (${node.id})`;
  const say = (name: string, severity: EventRecord["severity"], message: string, details?: EventRecord["details"]) =>
    events.push(makeEvent(name, severity, node.id, message, details));
  const isNew = former === undefined || former.incarnation !== node.incarnation;
  if (isNew) say("worker.joined", "info", `${who} joined from ${node.address}`, { address: node.address });
  if (node.phase === "lost" && former?.phase !== "lost") {
    say("worker.lost", "error", node.fault?.message ?? `${who} is lost`, { code: node.fault?.code ?? null });
  }
  if (node.phase === "draining" && former?.phase !== "draining") say("worker.draining", "warning", `${who} leaves`);
  const { stage } = node;
  const formerPhase = isNew ? undefined : former.stage?.phase;
  const formerEpoch = isNew ? undefined : former.stage?.epoch;
  if (stage === null || (stage.phase === formerPhase && stage.epoch === formerEpoch)) return events;
  const { epoch, weightsBytesReceived } = stage;
  if (stage.phase === "ready") {
    say("stage.ready", "info", `${who} serves its stage`, { epoch, weightsBytesReceived });
  } else if (stage.phase === "failed") {
    say("stage.failed", "error", stage.error?.message ?? `${who} cannot serve its stage`, {
      epoch,
      code: stage.error?.code ?? null,
    });
  } else if (stage.phase === "restarting") {
    say("stage.restarting", "error", stage.error?.message ?? `the engine of ${who} is started again`, {
      epoch,
      code: stage.error?.code ?? null,
    });
  } else {
    say(`stage.${stage.phase}`, "info", `${who} is ${stage.phase} its stage`, { epoch });
  }
  return events;
}
