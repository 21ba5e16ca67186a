import { must, NoodleError } from "../../common/index.ts";
import { EventQueue } from "./event-queue.ts";
import type { GenerateEvent, StageStats } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import type { Determinism } from "../../schedule/index.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Session, SessionHistory } from "./session.ts";
import type { PrefixSource, PromptFacts } from "./slot-book.ts";
import type { LayerKvHash } from "./stage-client.ts";
import type { WaitingRequest } from "./waiting-line.ts";

/** A slot of the pipeline, given to one generation. */
export interface Admission {
  readonly slot: number;
  readonly pipeline: Pipeline;
  /** What it may start with. */
  readonly source: PrefixSource | null;
}

/** What a generation needs of those that serve it. */
export interface GenerationHost {
  readonly determinism: Determinism;
  nowMs(): number;
  /** Resolves when it has a slot. @throws CLUSTER_NOT_READY, QUEUE_FULL, and what it was cancelled with */
  admit(generation: Generation): Promise<Admission>;
  /** Makes its session; the slot is the session's from here on. @throws USAGE for notes that can not be followed */
  begin(generation: Generation, admission: Admission): Session;
  /** Opens the session on every stage and lets it run. @throws a stage's refusal, or what ended the session meanwhile */
  openOn(session: Session, admission: Admission, generation: Generation): Promise<void>;
  /** The session has room for events again. */
  wake(session: Session): void;
  readKvHashes(session: Session, pipeline: Pipeline): Promise<readonly LayerKvHash[]>;
  describeStages(session: Session): readonly StageStats[];
  /** Frees the session on every stage, whatever became of it. Never throws. */
  free(session: Session): Promise<void>;
  /** It ended before it had a slot. */
  refused(error: NoodleError): void;
}

/** A reader's end waits so long for the freeing of the slot; where a stage does not answer, that goes on behind it. */
const FREE_GRACE_MS = 250;

/**
 * One request from the call to the freeing of its slot, which happens however it ends and whether or not anybody reads.
 */
export class Generation implements WaitingRequest {
  readonly request: GenerateRequest;
  readonly prompt: PromptFacts;
  readonly priority: number;
  readonly output = new EventQueue<GenerateEvent>();
  /** What was generated before; undefined where it begins here. */
  readonly history: SessionHistory | undefined;
  readonly #host: GenerationHost;
  /** When it was called for. */
  readonly startMs: number;
  #session: Session | null = null;
  #cancelled: NoodleError | null = null;
  /** Ends the waiting for a slot. */
  #giveUp: ((error: NoodleError) => void) | null = null;
  #deadline: NodeJS.Timeout | null = null;
  #slotMs = 0;
  #over: Promise<void> | null = null;
  /** Nobody reads it any more, and it goes on. */
  #isUnread = false;

  constructor(
    host: GenerationHost,
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    history?: SessionHistory,
  ) {
    this.#host = host;
    this.history = history;
    this.request = request;
    this.priority = request.priority ?? 0;
    // Every row's logits are wanted, or each in a class of the request's own: nothing can be taken over.
    const ownChunks = host.determinism === "strict" && request.prefillRows !== undefined;
    const afresh = (request.promptLogprobs ?? null) !== null || request.arrange !== undefined || ownChunks;
    const isVerified = request.wantLogits === true || request.wantKvHashes === true;
    this.prompt = {
      client: request.client ?? "",
      tokens: promptTokenIds,
      cachePrompt: (request.cachePrompt ?? !isVerified) && !afresh,
    };
    this.startMs = host.nowMs();
  }

  get client(): string {
    return this.prompt.client;
  }

  get isCancelled(): boolean {
    return this.#cancelled !== null;
  }

  /**
   * Events, until the generation is over and, where its stages answer, its slot is free. To be called once.
   *
   * @throws what ended it; TIMED_OUT for a reader that was dropped
   */
  async *read(signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const onAbort = (): void => this.cancel(new NoodleError("INTERRUPTED", "the generation was cancelled"));
    signal.addEventListener("abort", onAbort, { once: true });
    this.#start();
    if (signal.aborted) onAbort();
    try {
      while (true) {
        const wasHeld = this.#session?.isHeldBack === true;
        const event = await this.output.next();
        if (event === undefined) return;
        if (wasHeld) this.#host.wake(must(this.#session, "session"));
        yield event;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      if (!this.#isUnread) {
        this.cancel(new NoodleError("INTERRUPTED", "the reader went away"));
        await this.#untilFree();
      }
    }
  }

  /** Ends it with an error, wherever it is; without effect when it is over. */
  cancel(error: NoodleError): void {
    this.#cancelled ??= error;
    this.#giveUp?.(this.#cancelled);
    this.#session?.fail(this.#cancelled);
  }

  /**
   * Its reader has taken nothing for too long: it gets the error, and what waits for it is thrown away. The generation
   * goes on to its end, as for anybody else; until the reader is told, its signal still cancels.
   */
  dropReader(error: NoodleError): void {
    this.#isUnread = true;
    this.output.drop(error);
    if (this.#session !== null) this.#host.wake(this.#session);
  }

  /** Resolves with a slot, or rejects with what it is cancelled with before that. */
  waitForSlot(): { readonly slot: Promise<Admission>; readonly give: (admission: Admission) => void } {
    let give: (admission: Admission) => void = () => undefined;
    const slot = new Promise<Admission>((resolve, reject) => {
      give = resolve;
      this.#giveUp = reject;
    });
    return { slot, give };
  }

  #start(): void {
    const { deadlineMs } = this.request;
    if (deadlineMs !== undefined) {
      const text = `the generation took longer than its ${deadlineMs} ms (deadlineMs)`;
      this.#deadline = setTimeout(() => this.cancel(new NoodleError("DEADLINE_EXCEEDED", text)), deadlineMs);
    }
    this.#over = this.#run().finally(() => {
      if (this.#deadline !== null) clearTimeout(this.#deadline);
    });
  }

  async #untilFree(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const grace = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, FREE_GRACE_MS);
    });
    await Promise.race([this.#over, grace]);
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    let admission: Admission;
    try {
      if (this.#cancelled !== null) throw this.#cancelled;
      admission = await this.#host.admit(this);
      this.#giveUp = null;
      this.#slotMs = this.#host.nowMs();
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      this.#host.refused(error);
      this.output.end(error);
      return;
    }
    const session = this.#host.begin(this, admission);
    this.#session = session;
    // What ends it is told at once, whatever is still asked of its stages.
    const tellFailure = (): void => {
      if (session.failure !== undefined) this.output.end(session.failure);
    };
    session.over.addEventListener("abort", tellFailure, { once: true });
    if (this.#cancelled !== null) session.fail(this.#cancelled);
    try {
      await this.#serve(session, admission);
      this.output.end();
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      session.fail(error);
      this.output.end(error);
    }
    await this.#host.free(session);
  }

  async #serve(session: Session, admission: Admission): Promise<void> {
    await this.#host.openOn(session, admission, this);
    const { cachedTokens } = session;
    const queueMs = this.#slotMs - this.startMs;
    const promptTokenIds = this.prompt.tokens;
    this.output.push({ type: "started", sessionId: session.id, promptTokenIds, cachedTokens, queueMs });
    await untilAborted(session.over);
    if (session.failure !== undefined) throw session.failure;
    const endMs = this.#host.nowMs();
    const kv = this.request.wantKvHashes === true ? await this.#host.readKvHashes(session, admission.pipeline) : [];
    this.output.push(this.#describeEnd(session, endMs, kv));
  }

  #describeEnd(session: Session, endMs: number, kv: readonly LayerKvHash[]): GenerateEvent {
    const { generatedTokens, cachedTokens, stopText, notes, stepRows } = session;
    const firstMs = session.firstTokenMs ?? endMs;
    const decodeMs = (session.lastTokenMs ?? firstMs) - firstMs;
    return {
      type: "done",
      finishReason: must(session.finishReason, "finish reason"),
      stopText,
      generatedTokens,
      queueMs: this.#slotMs - this.startMs,
      prefillMs: firstMs - this.#slotMs,
      decodeMs,
      cachedTokens,
      notes,
      ttftMs: firstMs - this.startMs,
      decodeTokensPerSec: generatedTokens < 2 || decodeMs <= 0 ? 0 : ((generatedTokens - 1) * 1000) / decodeMs,
      stages: this.#host.describeStages(session),
      kv,
      stepRows,
    };
  }
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
