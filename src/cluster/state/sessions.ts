import { NoodleError } from "../../common/index.ts";
import type { ClusterEvent, ClusterState, Fault, SessionState } from "./types.ts";

type SessionEvent = Extract<ClusterEvent, { readonly type: `session${string}` }>;
type Sessions = ClusterState["sessions"];

/** The sessions after an event. Events of sessions that are not known change nothing. @throws NoodleError ILLEGAL_STATE */
export function applySession(sessions: Sessions, event: SessionEvent): Sessions {
  if (event.type === "sessionOpened") return open(sessions, event.session);
  const session = sessions.get(event.sessionId);
  if (session === undefined) return sessions;
  const next = new Map(sessions);
  switch (event.type) {
    case "sessionClosed":
      next.delete(session.id);
      return next;
    case "sessionStranded":
      if (session.stranded !== undefined) return sessions;
      return next.set(session.id, { ...session, stranded: { sinceMs: event.nowMs, fault: event.fault } });
    case "sessionMoved":
      return next.set(session.id, { id: session.id, slot: session.slot, epoch: event.epoch });
    default:
      return event satisfies never;
  }
}

function open(sessions: Sessions, session: SessionState): Sessions {
  for (const other of sessions.values()) {
    if (other.slot === session.slot && other.epoch === session.epoch) {
      throw new NoodleError("ILLEGAL_STATE", `slot ${other.slot} already belongs to session ${other.id}`);
    }
  }
  return new Map(sessions).set(session.id, session);
}

/** Why the stages of a session are gone; null while it has them. */
export function strandingFault(state: ClusterState, { epoch }: SessionState): Fault | null {
  const { former, plan, broken } = state;
  if (former?.plan.epoch === epoch) return former.broken;
  if (plan?.epoch === epoch) return broken;
  if (broken !== null) return broken;
  if (plan === null) return null;
  const message = `the session belongs to plan ${epoch}, the plan is ${plan.epoch} now`;
  return { code: "STALE_EPOCH", message, nodeId: "" };
}

/** What a session ends with that has waited for stages for too long; null while it may wait. */
export function judgeWait(state: ClusterState, { stranded }: SessionState, nowMs: number): Fault | null {
  if (stranded === undefined) return null;
  const { recoveryWaitMs = 0 } = state.config;
  if (nowMs - stranded.sinceMs < recoveryWaitMs) return null;
  const { fault } = stranded;
  if (recoveryWaitMs === 0) return fault;
  const message = `${fault.message}; no other stages could take over within ${recoveryWaitMs} ms (--recovery-wait)`;
  return { ...fault, message };
}
