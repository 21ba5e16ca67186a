import type { EventRecord } from "../../observe/index.ts";
import { type ClusterState, formatUnits, isNextReady, type Plan } from "../state/index.ts";
import { makeEvent } from "./state-records.ts";

/** What happened between two states to plans that follow one another, a sentence for each step. Pure. */
export function describeReplanning(before: ClusterState, after: ClusterState): readonly EventRecord[] {
  const events: EventRecord[] = [];
  const say = (name: string, message: string, details: EventRecord["details"], isWarning = false): void => {
    events.push(makeEvent(name, isWarning ? "warning" : "info", null, message, details));
  };
  const { next, former, plan } = after;
  if (next !== null && before.next === null) {
    const { epoch, reason = "" } = next.plan;
    const text = `plan ${epoch}, ${describePlan(after, next.plan)}, is prepared beside plan ${plan?.epoch ?? 0}: ${reason}`;
    say("replan.preparing", text, { epoch, split: splitOf(next.plan), reason });
  }
  if (next !== null && next.mode === "drain" && before.next?.mode !== "drain") {
    const text = `there is no room for two plans at once: plan ${next.plan.epoch} waits for the end of ${after.sessions.size} sessions, and new requests wait in line`;
    say("replan.draining", text, { epoch: next.plan.epoch, sessions: after.sessions.size }, true);
  }
  if (isNextReady(after) && !isNextReady(before) && next !== null) {
    say("replan.ready", `all ${next.plan.stages.length} stages of plan ${next.plan.epoch} are loaded`, {
      epoch: next.plan.epoch,
    });
  }
  if (before.next !== null && next === null && after.refused !== null && before.refused !== after.refused) {
    const { epoch } = before.next.plan;
    const { code, message, nodeId } = after.refused;
    const stays = `plan ${plan?.epoch ?? 0} stays in force`;
    events.push(
      makeEvent("replan.refused", "warning", nodeId, `plan ${epoch} was given up, ${stays}: ${message}`, {
        epoch,
        code,
      }),
    );
  }
  if (before.next !== null && plan?.fallback !== undefined && plan.epoch !== before.plan?.epoch) {
    const text = `the last session has ended: plan ${plan.epoch} is given out, ${describePlan(after, plan)}`;
    say("replan.drained", text, { epoch: plan.epoch, former: before.plan?.epoch ?? null });
  }
  if (former !== null && former.plan.epoch !== before.former?.plan.epoch && plan !== null) {
    const left = countSessions(after, former.plan.epoch);
    const text = `new sessions run on plan ${plan.epoch}, ${describePlan(after, plan)}; ${left} move to it from plan ${former.plan.epoch}`;
    say("replan.switched", text, { epoch: plan.epoch, former: former.plan.epoch, sessions: left });
  }
  const ended = before.former;
  if (ended !== null && former === null) {
    say("replan.retired", `nothing runs on plan ${ended.plan.epoch} any more: its stages are freed`, {
      epoch: ended.plan.epoch,
    });
  }
  if (
    plan !== null &&
    before.plan?.fallback !== undefined &&
    plan.epoch !== before.plan.epoch &&
    plan.fallback === undefined
  ) {
    const text = `plan ${before.plan.epoch} can't be served, plan ${plan.epoch} takes its place: ${describePlan(after, plan)}`;
    say("replan.reverted", text, { epoch: plan.epoch, code: before.broken?.code ?? null }, true);
  }
  return events;
}

function countSessions(state: ClusterState, epoch: number): number {
  return [...state.sessions.values()].filter((session) => session.epoch === epoch).length;
}

function splitOf(plan: Plan): string {
  return plan.stages.map(({ units }) => formatUnits(units)).join(",");
}

function describePlan(state: ClusterState, plan: Plan): string {
  return plan.stages
    .map(({ units, nodeId }) => `${formatUnits(units)} on ${state.nodes.get(nodeId ?? "")?.name ?? "nobody"}`)
    .join(", ");
}
