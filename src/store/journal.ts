import { Worker } from "node:worker_threads";
import { NoodleError, resolveEntry } from "../common/index.ts";
import type { ClaimedReply, EventRow, JournalTask, JournalValue, ReplyKey, SessionRow } from "./records.ts";

/** What the thread is started with. */
export interface JournalStart {
  readonly path: string;
  readonly term: number;
  /** How long a group waits for another process's transaction. */
  readonly busyMs: number;
  /** Pages that the file may have. */
  readonly maxPages: number;
}

/** What the thread answers to one group of tasks. */
export type JournalReply =
  | {
      readonly results: readonly ({ readonly value: JournalValue } | { readonly error: object })[];
      readonly writeMs: number;
    }
  | { readonly failure: object };

/** Groups and what they took, for whoever measures. */
interface JournalCounts {
  groups: number;
  tasks: number;
  /** In the thread, all groups together. */
  writeMs: number;
  longestWriteMs: number;
  /** Tasks that waited at once. */
  mostWaiting: number;
}

interface Waiting {
  readonly task: JournalTask;
  readonly resolve: (value: JournalValue) => void;
  readonly reject: (error: NoodleError) => void;
}

/** More is refused: the disk does not keep up. */
const MAX_WAITING = 4096;
/** Tasks of one transaction, so that another writer gets its turn. */
const MAX_GROUP = 512;
const HEAP_MB = 128;
/** From the beginning of one group to that of the next: what comes between waits together. */
const GROUP_INTERVAL_MS = 15;

/**
 * The journal of sessions, events and kept replies. Each call resolves when its rows are on disk. A thread writes: what
 * comes while the disk is busy goes into the next transaction together.
 *
 * Calls reject with STATE_TAKEN when a later coordinator has the state, DISK_FULL (later calls may succeed),
 * STATE_BUSY when too much waits or another process holds the file, STATE_DAMAGED, FILE_UNREADABLE; ILLEGAL_STATE after
 * `close`.
 */
export class Journal {
  readonly counts: JournalCounts = { groups: 0, tasks: 0, writeMs: 0, longestWriteMs: 0, mostWaiting: 0 };
  readonly #worker: Worker;
  readonly #onFailure: (error: NoodleError) => void;
  #waiting: Waiting[] = [];
  #underWay: readonly Waiting[] = [];
  #isClosed = false;
  #ended: NoodleError | null = null;
  readonly #exit: Promise<void>;
  #tellIdle: (() => void) | null = null;
  #nextGroupMs = 0;

  /** @param onFailure a group was not written, or the thread has ended */
  constructor(start: JournalStart, onFailure: (error: NoodleError) => void) {
    this.#onFailure = onFailure;
    this.#worker = new Worker(resolveEntry(import.meta.url, "./journal-thread-main"), {
      workerData: start,
      // What this process was started with is none of the thread's: an entry given as text, a loader.
      execArgv: [],
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MB },
    });
    this.#worker.unref();
    this.#worker.on("message", (reply: JournalReply) => this.#take(reply));
    this.#worker.on("error", (error) => this.#end(NoodleError.from(error)));
    this.#exit = new Promise((resolve) => {
      this.#worker.on("exit", () => {
        if (!this.#isClosed) this.#end(new NoodleError("INTERNAL", "the journal's thread has ended"));
        resolve();
      });
    });
  }

  /** A request is accepted. @throws ILLEGAL_STATE for an id that is taken, LIMIT_EXCEEDED */
  async openSession(session: SessionRow, nowMs: number): Promise<void> {
    await this.#add({ type: "open", session, nowMs });
  }

  /**
   * @param fromPosition of the first token in the session, its prompt counted
   * @param notes how their positions were computed, as text; null = not told
   * @throws SESSION_NOT_FOUND, STEP_OUT_OF_ORDER with `details.have`
   */
  async appendTokens(
    sessionId: string,
    fromPosition: number,
    tokens: readonly number[],
    notes: string | null,
  ): Promise<void> {
    await this.#add({ type: "append", sessionId, fromPosition, tokens, notes });
  }

  /**
   * The session is over: nobody will go on with it.
   *
   * @param keepMs how long its rows stay; 0 = they are deleted now
   */
  async closeSession(sessionId: string, outcome: string, nowMs: number, keepMs = 0): Promise<void> {
    await this.#add({ type: "close", sessionId, outcome, nowMs, keepMs });
  }

  async recordEvent(event: EventRow, nowMs: number): Promise<void> {
    await this.#add({ type: "event", event, nowMs });
  }

  /** @throws IDEMPOTENCY_MISMATCH where the key stands for another body */
  async claimReply(key: ReplyKey, nowMs: number, keepMs: number): Promise<ClaimedReply> {
    const claimed = await this.#add({ type: "claimReply", key, nowMs, keepMs });
    return claimed ?? { state: "claimed" };
  }

  /** @param reply null: there is none, and the key is free again */
  async keepReply(key: ReplyKey, reply: string | null): Promise<void> {
    await this.#add({ type: "keepReply", key, reply });
  }

  /** Writes what waits, and ends the thread. Closing twice is safe. */
  async close(): Promise<void> {
    if (!this.#isClosed) {
      this.#isClosed = true;
      if (this.#ended === null) {
        await this.#untilIdle();
        // Otherwise nothing may be left that keeps this process until the thread has ended.
        this.#worker.ref();
        this.#worker.postMessage(null, []);
      }
    }
    await this.#exit;
  }

  #add(task: JournalTask): Promise<JournalValue> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (this.#isClosed) return Promise.reject(new NoodleError("ILLEGAL_STATE", "the journal is closed"));
    if (this.#waiting.length >= MAX_WAITING) {
      const message = `${MAX_WAITING} writes wait for the disk of the data directory already`;
      return Promise.reject(new NoodleError("STATE_BUSY", message));
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject });
      this.counts.mostWaiting = Math.max(this.counts.mostWaiting, this.#waiting.length);
      if (this.#waiting.length === 1 && this.#underWay.length === 0) this.#schedule();
    });
  }

  /** The first write behind a silence does not wait. */
  #schedule(): void {
    const waitMs = this.#nextGroupMs - performance.now();
    if (waitMs <= 0 || this.#isClosed) queueMicrotask(() => this.#sendNext());
    else setTimeout(() => this.#sendNext(), waitMs);
  }

  #sendNext(): void {
    if (this.#underWay.length > 0 || this.#ended !== null) return;
    if (this.#waiting.length === 0) {
      this.#worker.unref();
      this.#tellIdle?.();
      return;
    }
    this.#nextGroupMs = performance.now() + GROUP_INTERVAL_MS;
    this.#underWay = this.#waiting.slice(0, MAX_GROUP);
    this.#waiting = this.#waiting.slice(MAX_GROUP);
    this.#worker.ref();
    this.#worker.postMessage(
      this.#underWay.map(({ task }) => task),
      [],
    );
  }

  #take(reply: JournalReply): void {
    const group = this.#underWay;
    this.#underWay = [];
    if ("failure" in reply) {
      const error = NoodleError.fromJSON(reply.failure);
      for (const { reject } of group) reject(error);
      this.#onFailure(error);
    } else {
      const { counts } = this;
      counts.groups += 1;
      counts.tasks += group.length;
      counts.writeMs += reply.writeMs;
      counts.longestWriteMs = Math.max(counts.longestWriteMs, reply.writeMs);
      for (const [index, { resolve, reject }] of group.entries()) {
        const result = reply.results[index];
        if (result === undefined) reject(new NoodleError("INTERNAL", "the journal's thread gave too few results"));
        else if ("error" in result) reject(NoodleError.fromJSON(result.error));
        else resolve(result.value);
      }
    }
    if (this.#waiting.length > 0) this.#schedule();
    else this.#sendNext();
  }

  #end(error: NoodleError): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    const pending = [...this.#underWay, ...this.#waiting];
    this.#underWay = [];
    this.#waiting = [];
    for (const { reject } of pending) reject(error);
    this.#tellIdle?.();
    this.#onFailure(error);
  }

  #untilIdle(): Promise<void> {
    if (this.#underWay.length === 0 && this.#waiting.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#tellIdle = resolve;
    });
  }
}
