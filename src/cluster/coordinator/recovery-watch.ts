import type { EventRecord } from "../../observe/index.ts";
import type { Fault } from "../state/index.ts";
import type { Session } from "./session.ts";
import { makeEvent } from "./state-records.ts";

interface Recovery {
  readonly fault: Fault | null;
  readonly startMs: number;
  /** Between the last sign of the stages and the detection; null where nothing was under way. */
  readonly detectMs: number | null;
  readonly sessions: number;
  readonly waiting: Set<Session>;
  epoch: number;
  openedMs: number;
  refilledMs: number;
  firstTokenMs: number | null;
  lastTokenMs: number | null;
  tokens: number;
  resumed: number;
  isExact: boolean;
}

/** Follows sessions from the loss of their stages to their next tokens, and tells what it took. Monotonic times. */
export class RecoveryWatch {
  readonly #tell: (event: EventRecord) => void;
  #lastSignMs: number | null = null;
  #recovery: Recovery | null = null;

  constructor(tell: (event: EventRecord) => void) {
    this.#tell = tell;
  }

  /** A stage has answered. */
  noteSign(nowMs: number): void {
    this.#lastSignMs = nowMs;
  }

  /** Stages are gone, and with them those of these sessions. */
  begin(fault: Fault | null, sessions: readonly Session[], nowMs: number): void {
    const known = this.#recovery;
    if (known !== null) {
      for (const session of sessions) known.waiting.add(session);
      return;
    }
    const detectMs = sessions.length === 0 || this.#lastSignMs === null ? null : nowMs - this.#lastSignMs;
    this.#recovery = {
      fault,
      startMs: nowMs,
      detectMs,
      sessions: sessions.length,
      waiting: new Set(sessions),
      epoch: 0,
      openedMs: nowMs,
      refilledMs: nowMs,
      firstTokenMs: null,
      lastTokenMs: null,
      tokens: 0,
      resumed: 0,
      isExact: true,
    };
  }

  /** Steps can be sent again. @param fault what broke the plan before */
  open(epoch: number, fault: Fault | null, nowMs: number): void {
    const recovery = this.#recovery;
    if (recovery === null) return;
    this.#recovery = { ...recovery, fault: recovery.fault ?? fault, epoch, openedMs: nowMs };
    this.#check();
  }

  noteInexact(): void {
    if (this.#recovery !== null) this.#recovery.isExact = false;
  }

  /** The session has its next token. */
  resume(session: Session, nowMs: number): void {
    const recovery = this.#recovery;
    if (recovery?.waiting.delete(session) !== true) return;
    recovery.resumed += 1;
    recovery.tokens += session.stall?.tokens ?? 0;
    recovery.refilledMs = Math.max(recovery.refilledMs, session.stall?.refilledMs ?? nowMs);
    recovery.firstTokenMs ??= nowMs;
    recovery.lastTokenMs = nowMs;
    this.#check();
  }

  /** The session is over. */
  end(session: Session): void {
    if (this.#recovery?.waiting.delete(session) === true) this.#check();
  }

  #check(): void {
    const recovery = this.#recovery;
    if (recovery === null || recovery.epoch === 0 || recovery.waiting.size > 0) return;
    this.#recovery = null;
    const { fault, startMs, openedMs, firstTokenMs, lastTokenMs, sessions, resumed, epoch, tokens } = recovery;
    const since = (ms: number | null): number | null => (ms === null ? null : Math.round(ms - startMs));
    const cause = nameCause(fault);
    const took =
      lastTokenMs === null ? `${since(openedMs)} ms` : `${since(lastTokenMs)} ms to the last one's next token`;
    const why = fault === null ? "stages were lost" : fault.message;
    const text = `${resumed} of ${sessions} sessions go on under plan ${epoch} after ${took} (${cause}): ${why}`;
    this.#tell(
      makeEvent("recovery.done", "warning", fault?.nodeId ?? null, text, {
        cause,
        epoch,
        sessions,
        resumed,
        tokens_refilled: tokens,
        exact: recovery.isExact,
        detect_ms: recovery.detectMs === null ? null : Math.round(recovery.detectMs),
        replan_ms: since(openedMs),
        refill_ms: resumed === 0 ? null : Math.round(recovery.refilledMs - openedMs),
        first_token_ms: since(firstTokenMs),
        last_token_ms: since(lastTokenMs),
      }),
    );
  }
}

/** The kinds of loss that are told apart. */
function nameCause(fault: Fault | null): string {
  switch (fault?.code) {
    case "PEER_DEAD":
      return "peer_dead";
    case "PEER_STALLED":
      return "peer_stalled";
    case "PEER_UNREACHABLE":
      return "peer_unreachable";
    case "ENGINE_ABORTED":
      return "engine_abort";
    case "STALE_EPOCH":
      return "stale_epoch";
    case "FRAME_CORRUPT":
      return "corrupt";
    default:
      return fault === null ? "unknown" : fault.code.toLowerCase();
  }
}
