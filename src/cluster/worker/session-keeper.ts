import { NoodleError } from "../../common/index.ts";
import {
  type CloseSessionRequest,
  type CreateSessionRequest,
  type Prefix,
  readSessionId,
} from "../../protocol/index.ts";
import { readSampling } from "../state/index.ts";
import { KeptSlots } from "./kept-slots.ts";
import { type Session, SessionTable } from "./sessions.ts";
import type { AsyncEngine } from "./stage-thread.ts";
import type { StepQueue } from "./step-queue.ts";

export interface CloseOutcome {
  /** The session was there, or what it kept. */
  readonly existed: boolean;
  readonly keptTokens: number;
}

const NOTHING: CloseOutcome = { existed: false, keptTokens: 0 };

/** What a new session starts with. */
interface Start {
  readonly tokens: number;
  /** Absent when the slot itself keeps them. */
  readonly copyFrom?: number;
}

/**
 * Opens and ends the sessions of a stage in one epoch, and knows what their slots keep behind their end. A slot's table
 * entry changes in the same turn as its call is put before the engine, so that both see one order of events.
 */
export class SessionKeeper {
  readonly sessions = new SessionTable();
  readonly #kept = new KeptSlots();
  readonly #engine: AsyncEngine;
  readonly #queue: StepQueue;
  /** Ends under way, by slot. */
  readonly #closing = new Map<number, { readonly id: string; readonly outcome: Promise<CloseOutcome> }>();
  #ended: NoodleError | undefined;

  /** @param queue that the sessions' steps go through */
  constructor(engine: AsyncEngine, queue: StepQueue) {
    this.#engine = engine;
    this.#queue = queue;
  }

  /**
   * Opens a session, or finds it again.
   *
   * @returns the position that its first step takes
   * @throws PREFIX_GONE with nothing changed when what it shall start with is not there, GRAMMAR_INVALID, and as
   * `SessionTable.create`
   */
  async open(request: CreateSessionRequest, nowMs: number): Promise<number> {
    const { fence, slot, leaseMs, wantLogits, promptTokens, prefix } = request;
    const id = readSessionId(request.sessionId);
    const sampling = readSampling(request.sampling);
    await this.#untilClosed(slot, prefix?.slot ?? slot);
    if (this.#ended !== undefined) throw this.#ended;
    const isKnown = this.sessions.find(id) !== undefined;
    const start: Start = isKnown || prefix === undefined ? { tokens: 0 } : this.#findStart(prefix, slot);
    const { tokens, ...copy } = start;
    const { session, created } = this.sessions.create({ id, fence, slot, tokens, leaseMs, wantLogits }, nowMs);
    if (!created) return session.position.nextPosition;
    this.#kept.forget(slot);
    try {
      await this.#engine.openSlot(slot, sampling, { keepTokens: tokens, promptTokens, ...copy });
    } catch (error) {
      await this.#discard(session);
      throw error;
    }
    return session.position.nextPosition;
  }

  /**
   * Ends a session behind the steps that arrived before, or frees what an ended one keeps. A second end of the same
   * session is answered as the first.
   *
   * @throws STALE_EPOCH for a lower fence
   */
  async close({ sessionId, fence, keepKv }: CloseSessionRequest): Promise<CloseOutcome> {
    const id = readSessionId(sessionId);
    const session = this.sessions.find(id);
    for (const closing of this.#closing.values()) if (closing.id === id) return await closing.outcome;
    if (session === undefined) return await this.#closeKept(id, keepKv);
    const have = session.position.fence;
    if (fence < have) {
      throw new NoodleError("STALE_EPOCH", `close with fence ${fence}, the session is at ${have}`, {
        details: { haveFence: have },
      });
    }
    session.isClosing = true;
    const { slot } = session;
    const outcome = this.#closeSlot(session, keepKv).finally(() => this.#closing.delete(slot));
    this.#closing.set(slot, { id, outcome });
    return await outcome;
  }

  /** Frees what was silent beyond its lease. What slots keep has none. */
  async expire(nowMs: number): Promise<void> {
    await this.#freeAll(this.sessions.removeExpired(nowMs));
  }

  /** Ends the epoch: nothing is open or kept afterwards, and nothing will be. */
  async endAll(error: NoodleError): Promise<void> {
    this.#ended = error;
    await this.#freeAll([...this.sessions.removeAll(), ...this.#kept.removeAll()]);
  }

  async #freeAll(holders: readonly { readonly slot: number }[]): Promise<void> {
    await Promise.all(holders.map(({ slot }) => this.#engine.closeSlot(slot, false)));
  }

  async #closeSlot(session: Session, keepKv: boolean): Promise<CloseOutcome> {
    const { id, slot } = session;
    // The reply is not waited for inside: it comes behind the engine's call under way, the next step may begin sooner.
    const call = await this.#queue.run([id], async () => {
      if (this.sessions.find(id) !== session) return { reply: null };
      this.sessions.remove(id);
      return { reply: this.#engine.closeSlot(slot, keepKv) };
    });
    if (call.reply === null) return NOTHING;
    const tokens = await call.reply;
    if (tokens > 0 && this.#ended === undefined) this.#kept.keep({ sessionId: id, slot, tokens });
    return { existed: true, keptTokens: tokens };
  }

  async #closeKept(id: string, keepKv: boolean): Promise<CloseOutcome> {
    const kept = this.#kept.findSession(id);
    if (kept === undefined) return NOTHING;
    if (keepKv) return { existed: true, keptTokens: kept.tokens };
    this.#kept.forget(kept.slot);
    await this.#engine.closeSlot(kept.slot, false);
    return { existed: true, keptTokens: 0 };
  }

  /** @throws PREFIX_GONE */
  #findStart(prefix: Prefix, slot: number): Start {
    const { slot: source, tokens } = prefix;
    if (tokens === 0) return { tokens };
    const id = readSessionId(prefix.sessionId);
    const open = this.sessions.find(id);
    // A running session's own step may be at the engine: only what it had before is sure, the engine looks again.
    const have =
      open === undefined ? this.#kept.findSession(id) : { slot: open.slot, tokens: open.position.nextPosition };
    if (have === undefined || have.slot !== source || have.tokens < tokens) {
      const there = have === undefined ? "nothing" : `${have.tokens} in slot ${have.slot}`;
      throw new NoodleError("PREFIX_GONE", `${tokens} tokens of session ${id} in slot ${source}: there is ${there}`, {
        details: { prefixSessionId: id, have: have?.tokens ?? 0 },
      });
    }
    return source === slot ? { tokens } : { tokens, copyFrom: source };
  }

  /** Resolves when neither slot is being closed any more. */
  async #untilClosed(one: number, other: number): Promise<void> {
    for (;;) {
      const closing = this.#closing.get(one) ?? this.#closing.get(other);
      if (closing === undefined) return;
      await closing.outcome.catch(() => undefined);
    }
  }

  /** A session that did not come to be. Its slot is empty then, also where it had kept something. */
  async #discard(session: Session): Promise<void> {
    if (this.sessions.find(session.id) !== session) return;
    this.sessions.remove(session.id);
    await this.#engine.closeSlot(session.slot, false).catch(() => undefined);
  }
}
