import { randomBytes } from "node:crypto";
import { NoodleError } from "../../common/index.ts";
import { arrangeReplay, type Determinism } from "../../schedule/index.ts";
import { Admissions } from "./admissions.ts";
import type { Clock } from "./clock.ts";
import type { GenerateEvent, StageStats } from "./generate-event.ts";
import { checkNotes, type GenerateRequest } from "./generate-request.ts";
import { type Admission, Generation, type GenerationHost } from "./generation.ts";
import type { Pipeline } from "./pipeline.ts";
import { type PipelineFacts, PolicyKeeper, type WantedPolicy } from "./policy-keeper.ts";
import { ReaderWatch } from "./reader-watch.ts";
import type { Recorder } from "./recorder.ts";
import { refillSession } from "./refill-session.ts";
import { SessionRunner } from "./runner.ts";
import { describeServing, type StatusServing } from "./serving-status.ts";
import { Session } from "./session.ts";
import { closeSession, keepsPrefix, openSession, readKvHashes } from "./session-calls.ts";
import { type PrefixSource, type PromptFacts, SlotBook } from "./slot-book.ts";
import type { LayerKvHash } from "./stage-client.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import type { QueueLimits } from "./waiting-line.ts";

export type { PipelineFacts, WantedPolicy } from "./policy-keeper.ts";

export interface ServingOptions {
  readonly clock: Clock;
  readonly tokenizer: PromptTokenizer;
  readonly contextTokens: number;
  /** KV sequences. */
  readonly slots: number;
  /** Rows that a stage takes in one step. */
  readonly maxRows: number;
  readonly determinism: Determinism;
  readonly queue: QueueLimits;
  readonly prefixCacheBytes: number;
  readonly readerStallMs: number;
  /** Above what a plan wants. */
  readonly wanted: WantedPolicy;
  /** Null where nobody observes. */
  readonly recorder: Recorder | null;
  readonly cluster: ServingCluster;
}

/** What serving needs to know of the cluster, and what it tells it. */
export interface ServingCluster {
  /** One plan follows another: what comes waits in the line, and nothing begins. */
  readonly isHeld: () => boolean;
  /** Why nothing can be served now; null when it can. */
  readonly refusal: () => NoodleError | null;
  readonly opened: (session: Session) => void;
  /** The slot is free. */
  readonly closed: (session: Session) => void;
  readonly describeStages: (session: Session) => readonly StageStats[];
}

/** Rows of a step whose rows are all outputs: as many as have room for their logits in so much memory, at least 8. */
const MAX_LOGITS_BYTES = 32 * 1024 * 1024;
const LEAST_OUTPUT_ROWS = 8;

/** Steps of a session that has ended may take this long before it is closed over them. */
const SETTLE_MS = 500;

/** Serves generations: who waits, who has which slot, what leaves next, and what is kept for later. */
export class Serving implements GenerationHost {
  readonly runner: SessionRunner;
  readonly #options: ServingOptions;
  readonly #book: SlotBook;
  readonly #keeper: PolicyKeeper;
  readonly #admissions: Admissions;
  readonly #readers: ReaderWatch;
  readonly #slotSinceMs = new Map<string, number>();
  readonly #refills = new Map<Session, Promise<void>>();

  constructor(options: ServingOptions) {
    const { clock, recorder, queue, slots, prefixCacheBytes, readerStallMs, cluster } = options;
    this.#options = options;
    this.#readers = new ReaderWatch(clock, readerStallMs);
    this.#keeper = new PolicyKeeper(options);
    this.#book = new SlotBook({
      slots,
      limitBytes: prefixCacheBytes,
      countReuse: (notes, tokens, promptRows) => this.#keeper.countReuse(notes, tokens, promptRows),
    });
    this.#admissions = new Admissions({
      book: this.#book,
      queue,
      slots,
      pipeline: () => this.runner.pipeline,
      isHeld: cluster.isHeld,
      refusal: cluster.refusal,
    });
    this.runner = new SessionRunner({
      clock,
      recorder: recorder?.requests ?? null,
      meter: this.#keeper.meter,
      onStep: () => {
        if (this.#keeper.isDue) this.#choosePolicy();
      },
    });
  }

  /**
   * Generates; nothing happens before the first event is read.
   *
   * @throws CLUSTER_NOT_READY, QUEUE_FULL, DEADLINE_EXCEEDED, INTERRUPTED, TIMED_OUT for a reader that stands still,
   * and the errors of the stages
   */
  async *generate(
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    signal: AbortSignal,
  ): AsyncGenerator<GenerateEvent, void, undefined> {
    const generation = new Generation(this, request, promptTokenIds);
    this.#readers.add(generation);
    try {
      yield* generation.read(signal);
    } finally {
      this.#readers.delete(generation);
    }
  }

  /**
   * The pipeline that takes steps from now on; null while there is none. Sessions that still run are filled into it
   * again, and go on.
   */
  setPipeline(pipeline: Pipeline | null, facts: PipelineFacts | null): void {
    this.#book.forgetAll();
    if (facts !== null) this.#keeper.facts = facts;
    this.runner.setPipeline(pipeline);
    if (pipeline !== null) {
      this.#choosePolicy();
      for (const session of this.runner.sessions) this.#refill(session, pipeline);
      this.runner.pump();
      this.#admissions.admitNext();
      return;
    }
    if (this.#options.cluster.isHeld()) return;
    const why = this.#options.cluster.refusal() ?? new NoodleError("CLUSTER_NOT_READY", "the stages are not connected");
    this.#admissions.refuseAll(why);
  }

  /** Nothing runs and nothing waits. */
  get isIdle(): boolean {
    return this.#book.occupied === 0 && this.#admissions.waiting === 0;
  }

  /** What waited while one plan followed another begins, or hears why it can't. */
  release(): void {
    const refusal = this.#options.cluster.refusal();
    if (refusal === null) this.#admissions.admitNext();
    else this.#admissions.refuseAll(refusal);
  }

  /** Ends all that runs and waits. */
  failAll(error: NoodleError): void {
    this.#admissions.refuseAll(error);
    for (const session of this.runner.sessions) this.runner.fail(session.id, error);
  }

  stop(): void {
    this.#readers.stop();
  }

  describe(): StatusServing {
    const { determinism, queue, prefixCacheBytes } = this.#options;
    return describeServing({
      determinism,
      running: this.#book.occupied,
      queued: this.#admissions.waiting,
      queue,
      policy: this.runner.policy,
      counter: this.runner.counter,
      kept: this.#book.kept,
      prefixes: this.#book.counts,
      prefixCacheBytes,
    });
  }

  get determinism(): Determinism {
    return this.#options.determinism;
  }

  nowMs(): number {
    return this.#options.clock.nowMs();
  }

  wake(session: Session): void {
    this.runner.wake(session);
  }

  admit(generation: Generation): Promise<Admission> {
    return this.#admissions.admit(generation);
  }

  begin(generation: Generation, { slot, pipeline }: Admission): Session {
    const { contextTokens, maxRows, tokenizer, cluster, recorder } = this.#options;
    const place = { id: randomBytes(16).toString("hex"), slot, epoch: pipeline.epoch, stages: pipeline.stages.length };
    const rowsWithRoom = Math.floor(MAX_LOGITS_BYTES / (tokenizer.vocabSize * Float32Array.BYTES_PER_ELEMENT));
    const limits = { contextTokens, maxOutputRows: Math.min(maxRows, Math.max(LEAST_OUTPUT_ROWS, rowsWithRoom)) };
    const session = new Session(
      place,
      generation.request,
      generation.prompt.tokens,
      limits,
      tokenizer,
      generation.output,
    );
    this.#book.settle(session);
    this.#slotSinceMs.set(session.id, this.nowMs());
    this.runner.add(session);
    cluster.opened(session);
    recorder?.requests.start(session, this.nowMs() - generation.startMs);
    return session;
  }

  async open(session: Session, { pipeline, source }: Admission, prompt: PromptFacts): Promise<void> {
    const { arrange } = session.request;
    if (arrange !== undefined) {
      checkNotes(arrange, this.#options.contextTokens);
      session.arrange(arrangeReplay(arrange, this.#keeper.facts.classes, session.slot, this.#options.slots));
    }
    const start = await this.#followLeader(session, source, prompt);
    const opened = await openSession(session, pipeline, start);
    const used = opened ? start : null;
    if (!opened) {
      // A stage does not have it any more: what the others made of it goes too.
      this.#book.countGone();
      await closeSession(session, pipeline, false);
      await openSession(session, pipeline, null);
    }
    if (prompt.cachePrompt) this.#book.count(used);
    if (used !== null) session.startWith(used.tokens, used.notes);
    session.run();
    this.runner.wake(session);
  }

  readKvHashes(session: Session, pipeline: Pipeline): Promise<readonly LayerKvHash[]> {
    return readKvHashes(session, this.#pipelineOf(session, pipeline));
  }

  describeStages(session: Session): readonly StageStats[] {
    return this.#options.cluster.describeStages(session);
  }

  async close(session: Session, admitted: Pipeline): Promise<void> {
    const { cluster, recorder } = this.#options;
    const pipeline = this.#pipelineOf(session, admitted);
    recorder?.requests.end(session, session.failure ?? null);
    // What is closed must not be opened later.
    await this.#refills.get(session);
    await this.runner.settle(session, SETTLE_MS);
    this.runner.remove(session);
    const keeps = this.#options.prefixCacheBytes > 0 && pipeline === this.runner.pipeline && keepsPrefix(session);
    const keptTokens = await closeSession(session, pipeline, keeps);
    const since = this.#slotSinceMs.get(session.id) ?? this.nowMs();
    this.#slotSinceMs.delete(session.id);
    this.#admissions.learnHold(this.nowMs() - since);
    const tokens = session.tokens.slice(0, keptTokens);
    const { id, slot, client, notes } = session;
    const kept = {
      slot,
      sessionId: id,
      client,
      tokens,
      notes,
      bytes: tokens.length * this.#keeper.facts.kvBytesPerToken,
    };
    this.#book.release(slot, pipeline === this.runner.pipeline && keptTokens > 0 ? kept : null);
    cluster.closed(session);
    this.#admissions.admitNext();
    this.runner.pump();
  }

  refused(error: NoodleError): void {
    this.#options.recorder?.noteRefused(error);
  }

  /** Waits while another session reads most of the same prompt, then starts with what that one has. */
  async #followLeader(
    session: Session,
    source: PrefixSource | null,
    prompt: PromptFacts,
  ): Promise<PrefixSource | null> {
    const leader = this.#book.findLeader(prompt, source, session);
    if (leader === null) return source;
    await Promise.race([leader.promptRead, session.promptRead]);
    if (session.failure !== undefined) throw session.failure;
    return this.#book.findSource(prompt);
  }

  /** A session can outlive the pipeline that it was admitted to. */
  #pipelineOf(session: Session, admitted: Pipeline): Pipeline {
    const { pipeline } = this.runner;
    return pipeline !== null && pipeline.epoch === session.epoch ? pipeline : admitted;
  }

  #refill(session: Session, pipeline: Pipeline): void {
    if (session.isOver) return;
    const { slots, maxRows } = this.#options;
    const refill = refillSession(session, pipeline, { classes: this.#keeper.facts.classes, slots, maxRows })
      .then(() => this.runner.wake(session))
      .catch((error: unknown) => this.runner.fail(session.id, NoodleError.from(error)))
      .finally(() => this.#refills.delete(session));
    this.#refills.set(session, refill);
  }

  #choosePolicy(): void {
    const { pipeline } = this.runner;
    if (pipeline === null) return;
    const policy = this.#keeper.choose(pipeline.stages.length);
    this.runner.setPolicy(policy);
    this.#book.align = policy.align;
  }
}
