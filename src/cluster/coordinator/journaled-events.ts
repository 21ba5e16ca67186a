import { NoodleError } from "../../common/index.ts";
import type { CoordinatorState, Journal } from "../../store/index.ts";
import { EventQueue } from "./event-queue.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { writeNotes, writeRequest } from "./journaled-text.ts";

/** How long what is told of a request stays in the journal behind its end: its last tokens may be on their way. */
const KEEP_ENDED_MS = 30_000;

/** One generation as the journal knows it. */
export interface JournaledGeneration {
  readonly request: GenerateRequest;
  /** SHA-256 of the model, in hex. */
  readonly model: string;
  /** It is in the journal already: it goes on there. @default null */
  readonly resumed?: { readonly sessionId: string; readonly promptTokens: number } | null;
}

interface WrittenEvent {
  readonly event: GenerateEvent;
  /** Settles when what it says is in the journal. */
  readonly written: Promise<void>;
}

/** Events that may wait for the disk: those behind them wait with the session. */
const MAX_AHEAD = 64;

/**
 * Passes a generation's events on, each as soon as it is in the journal. The generation does not wait for the disk, only
 * its reader does. Where the disk fails in the middle, the generation goes on without a journal, which an event tells.
 *
 * @param start begins the generation; what it is given tells how its positions are computed
 * @throws what the generation throws; DISK_FULL, STATE_BUSY and others where it can not be accepted; STATE_TAKEN
 */
export async function* journalEvents(
  state: Pick<CoordinatorState, "journal" | "recordEvent">,
  generation: JournaledGeneration,
  start: (request: GenerateRequest, signal: AbortSignal) => AsyncIterable<GenerateEvent>,
  signal: AbortSignal,
): AsyncGenerator<GenerateEvent, void, undefined> {
  const stop = new AbortController();
  const queue = new EventQueue<WrittenEvent>();
  const entry = new SessionEntry(state, generation);
  const request = { ...generation.request, tellCalls: true };
  let wake = (): void => undefined;
  const pump = async (): Promise<void> => {
    try {
      for await (const event of start(request, AbortSignal.any([signal, stop.signal]))) {
        const written = entry.write(event);
        // Whoever reads the event hears of it.
        written.catch(() => undefined);
        queue.push({ event, written });
        while (queue.size >= MAX_AHEAD && !stop.signal.aborted) await new Promise<void>((resolve) => (wake = resolve));
      }
      queue.end();
    } catch (error) {
      queue.end(NoodleError.from(error));
    }
  };
  const pumped = pump();
  let outcome = "INTERRUPTED";
  try {
    while (true) {
      const next = await queue.next();
      wake();
      if (next === undefined) break;
      await next.written;
      yield next.event;
    }
    outcome = "done";
  } catch (error) {
    outcome = NoodleError.from(error).code;
    throw error;
  } finally {
    stop.abort();
    wake();
    await pumped;
    entry.close(outcome);
  }
}

/** One session's part of the journal. */
class SessionEntry {
  readonly #state: Pick<CoordinatorState, "journal" | "recordEvent">;
  readonly #generation: JournaledGeneration;
  /** Null before the session has its slot, and when the disk failed. */
  #open: { readonly journal: Journal; readonly sessionId: string; readonly promptTokens: number } | null = null;

  constructor(state: Pick<CoordinatorState, "journal" | "recordEvent">, generation: JournaledGeneration) {
    this.#state = state;
    this.#generation = generation;
    const resumed = generation.resumed ?? null;
    if (resumed !== null) this.#open = { journal: state.journal, ...resumed };
  }

  async write(event: GenerateEvent): Promise<void> {
    if (event.type === "started" && this.#open === null) {
      const { sessionId, promptTokenIds } = event;
      const { journal } = this.#state;
      this.#open = { journal, sessionId, promptTokens: promptTokenIds.length };
      const { request, model } = this.#generation;
      const { client = "", deadlineMs } = request;
      const nowMs = Date.now();
      const session = {
        sessionId,
        client,
        request: { ...writeRequest(request), model },
        promptTokenIds,
        deadlineMs: deadlineMs === undefined ? null : Math.round(nowMs + deadlineMs),
      };
      await journal.openSession(session, nowMs);
    } else if (event.type === "token" && this.#open !== null) {
      const { journal, sessionId, promptTokens } = this.#open;
      try {
        await journal.appendTokens(sessionId, promptTokens + event.index, [event.tokenId], writeNotes(event));
      } catch (thrown) {
        this.#giveUp(NoodleError.from(thrown), sessionId);
      }
    }
  }

  /** Its rows go, or soon. Nobody waits for that. */
  close(outcome: string): void {
    const keepMs = outcome === "done" && this.#generation.request.origin !== undefined ? KEEP_ENDED_MS : 0;
    this.#open?.journal.closeSession(this.#open.sessionId, outcome, Date.now(), keepMs).catch(() => undefined);
    this.#open = null;
  }

  #giveUp(error: NoodleError, sessionId: string): void {
    if (error.code === "STATE_TAKEN") throw error;
    if (this.#open === null) return;
    this.#open = null;
    this.#state.recordEvent({
      name: "journal.failed",
      severity: "error",
      nodeId: null,
      message: `session ${sessionId} goes on without its journal: ${error.message}`,
      details: { code: error.code, session_id: sessionId },
    });
  }
}
