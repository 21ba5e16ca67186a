import type { NoodleError } from "../../common/index.ts";
import type { EventRecord } from "../../observe/index.ts";
import type { Session } from "./session.ts";
import type { SessionStall } from "./session-stall.ts";
import { makeEvent } from "./state-records.ts";

/** A session runs on the stages of another plan, and has its next token. */
export function describeMove(
  { id, epoch }: Session,
  { startMs, refilledMs, tokens }: SessionStall,
  nowMs: number,
): EventRecord {
  const stallMs = Math.round(nowMs - startMs);
  return makeEvent(
    "session.moved",
    "info",
    null,
    `session ${id} stood still for ${stallMs} ms and runs on plan ${epoch}`,
    {
      session_id: id,
      epoch,
      stall_ms: stallMs,
      refill_ms: refilledMs === null ? null : Math.round(refilledMs - startMs),
      tokens_refilled: tokens,
    },
  );
}

export function describeNotMoved({ id, epoch }: Session, { code, message }: NoodleError): EventRecord {
  const text = `session ${id} stays on plan ${epoch}: ${message}`;
  return makeEvent("session.not_moved", "warning", null, text, { session_id: id, epoch, code });
}
