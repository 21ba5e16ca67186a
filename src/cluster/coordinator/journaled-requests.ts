import { NoodleError } from "../../common/index.ts";
import type { CoordinatorState } from "../../store/index.ts";
import type { ClassNotes } from "../../schedule/index.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { journalEvents } from "./journaled-events.ts";
import { type JournaledSession, readSession } from "./journaled-text.ts";
import { replaySession } from "./replay-session.ts";
import type { PromptTokenizer } from "./tokenizer.ts";

const KEEP_REPLY_MS = 24 * 3_600_000;
/** Sessions that have ended and are told again; more would make a start slow. */
const MAX_ENDED = 64;

export interface JournaledRequestsOptions {
  readonly state: CoordinatorState;
  /** SHA-256 of the model, in hex. */
  readonly model: string;
  readonly contextTokens: number;
  readonly tokenizer: PromptTokenizer;
  /** As `Coordinator.resume`. */
  readonly resume: (
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    history: { readonly id: string; readonly generatedTokenIds: readonly number[]; readonly notes: ClassNotes },
    signal: AbortSignal,
  ) => AsyncIterable<GenerateEvent>;
}

/** A request that a stop of the coordinator cut off, or that ended a moment before. */
export interface CutOffRequest {
  readonly sessionId: string;
  readonly client: string;
  /** `GenerateRequest.origin`. */
  readonly origin: object;
}

/** Names a request for `claimReply`. */
type ReplyKey = Parameters<CoordinatorState["journal"]["claimReply"]>[0];

/** What the state keeps of requests beyond this process: those that a stop has cut off, and replies to named ones. */
export class JournaledRequests {
  readonly #options: JournaledRequestsOptions;
  readonly #sessions = new Map<string, JournaledSession>();
  #isRead = false;

  constructor(options: JournaledRequestsOptions) {
    this.#options = options;
  }

  /** Requests that somebody can go on with; all others are given up. */
  list(): readonly CutOffRequest[] {
    this.#read();
    return Array.from(this.#sessions.values(), ({ sessionId, request }) => ({
      sessionId,
      client: request.client ?? "",
      origin: request.origin ?? {},
    }));
  }

  /**
   * Goes on with one of them, from its first event on: those that the journal has come at once, the others as soon as
   * steps can run.
   *
   * @throws SESSION_NOT_FOUND, DEADLINE_EXCEEDED, and as `Coordinator.resume`
   */
  async *goOn(sessionId: string, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const { state, contextTokens, tokenizer, resume } = this.#options;
    this.#read();
    const session = this.#sessions.get(sessionId);
    if (session === undefined) {
      throw new NoodleError("SESSION_NOT_FOUND", `no session ${sessionId} was cut off by the last stop`);
    }
    this.#sessions.delete(sessionId);
    const { request, promptTokenIds, tokenIds, notes, model, deadlineMs } = session;
    const { events, end } = await replaySession(session, contextTokens, tokenizer);
    yield* events;
    if (end !== null) {
      yield end;
      return;
    }
    const leftMs = deadlineMs === null ? null : deadlineMs - Date.now();
    if (leftMs !== null && leftMs <= 0) {
      this.#drop([sessionId]);
      throw new NoodleError("DEADLINE_EXCEEDED", "the deadline passed while the coordinator was not there");
    }
    const timed = leftMs === null ? request : { ...request, deadlineMs: leftMs };
    const generation = { request: timed, model, resumed: { sessionId, promptTokens: promptTokenIds.length } };
    const history = { id: sessionId, generatedTokenIds: tokenIds, notes };
    const start = (wanted: GenerateRequest, end_: AbortSignal): AsyncIterable<GenerateEvent> =>
      resume(wanted, promptTokenIds, history, end_);
    for await (const event of journalEvents(state, generation, start, signal)) {
      if (event.type !== "started") yield event;
    }
  }

  /** Nobody goes on with it. */
  abandon(sessionId: string): void {
    if (this.#sessions.delete(sessionId)) this.#drop([sessionId]);
  }

  /** @throws IDEMPOTENCY_MISMATCH where the key stands for another body */
  claimReply(key: ReplyKey): ReturnType<CoordinatorState["journal"]["claimReply"]> {
    return this.#options.state.journal.claimReply(key, Date.now(), KEEP_REPLY_MS);
  }

  /** @param reply null: there is none, and the key is free again */
  keepReply(key: ReplyKey, reply: string | null): Promise<void> {
    return this.#options.state.journal.keepReply(key, reply);
  }

  #read(): void {
    if (this.#isRead) return;
    this.#isRead = true;
    const { state, model } = this.#options;
    const ended = state.loadEndedSessions(MAX_ENDED);
    const dropped: string[] = [];
    for (const row of [...state.loadOpenSessions(), ...ended]) {
      const session = readSession(row);
      if (session !== null && session.model === model) this.#sessions.set(session.sessionId, session);
      else if (row.outcome === null) dropped.push(row.sessionId);
    }
    if (dropped.length > 0) this.#drop(dropped);
  }

  #drop(sessionIds: readonly string[]): void {
    try {
      this.#options.state.dropSessions(sessionIds);
    } catch {
      // The next start finds them again.
    }
  }
}
