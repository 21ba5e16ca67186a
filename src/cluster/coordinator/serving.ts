import { randomBytes } from "node:crypto";
import { NoodleError } from "../../common/index.ts";
import {
  arrangeReplay,
  choosePolicy,
  CostMeter,
  countRecordedReuse,
  countStrictReuse,
  type Determinism,
  type RowClasses,
} from "../../schedule/index.ts";
import type { Clock } from "./clock.ts";
import type { GenerateEvent, StageStats } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { type Admission, Generation, type GenerationHost } from "./generation.ts";
import type { Pipeline } from "./pipeline.ts";
import { ReaderWatch } from "./reader-watch.ts";
import type { Recorder } from "./recorder.ts";
import { SessionRunner } from "./runner.ts";
import { describeServing, type StatusServing } from "./serving-status.ts";
import { Session } from "./session.ts";
import { closeSession, keepsPrefix, openSession, readKvHashes } from "./session-calls.ts";
import { type PrefixSource, type PromptFacts, SlotBook } from "./slot-book.ts";
import type { LayerKvHash } from "./stage-client.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import { type QueueLimits, WaitingLine } from "./waiting-line.ts";

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
  readonly wanted: {
    readonly decodeInFlight: number | null;
    readonly prefillRows: number | null;
    readonly mixedPrefillRows: number | null;
  };
  /** Null where nobody observes. */
  readonly recorder: Recorder | null;
  readonly cluster: ServingCluster;
}

/** What serving needs to know of the cluster, and what it tells it. */
export interface ServingCluster {
  /** Why nothing can be served now; null when it can. */
  readonly refusal: () => NoodleError | null;
  readonly opened: (session: Session) => void;
  /** The slot is free. */
  readonly closed: (session: Session) => void;
  readonly describeStages: (session: Session) => readonly StageStats[];
}

/** What a new pipeline's stages are like. */
export interface PipelineFacts {
  /** Row classes of every stage; empty where they are not known. */
  readonly classes: readonly RowClasses[];
  /** Keys and values of one position, all stages together. */
  readonly kvBytesPerToken: number;
}

/** Outputs that any stage gives in one step. */
const LEAST_MAX_OUTPUTS = 8;

/** Steps after which the policy is chosen anew by what they took. */
const STEPS_PER_POLICY = 16;

/** Steps of a session that has ended may take this long before it is closed over them. */
const SETTLE_MS = 500;

const FIRST_HOLD_MS = 5000;
const RETRY_MS = { least: 1000, most: 60_000 };

/** Serves generations: who waits, who has which slot, what leaves next, and what is kept for later. */
export class Serving implements GenerationHost {
  readonly runner: SessionRunner;
  readonly #options: ServingOptions;
  readonly #line: WaitingLine<Generation>;
  readonly #gives = new Map<Generation, (admission: Admission) => void>();
  readonly #book: SlotBook;
  readonly #meter = new CostMeter();
  readonly #readers: ReaderWatch;
  readonly #slotSinceMs = new Map<string, number>();
  #facts: PipelineFacts = { classes: [], kvBytesPerToken: 0 };
  #holdMs = FIRST_HOLD_MS;

  constructor(options: ServingOptions) {
    const { clock, recorder, queue, slots, prefixCacheBytes, readerStallMs } = options;
    this.#options = options;
    this.#line = new WaitingLine(queue);
    this.#readers = new ReaderWatch(clock, readerStallMs);
    this.#book = new SlotBook({
      slots,
      limitBytes: prefixCacheBytes,
      countReuse: (notes, tokens, promptRows) => {
        const { classes } = this.#facts;
        const chunkRows = this.runner.policy?.prefillRows ?? 1;
        return options.determinism === "strict"
          ? countStrictReuse(notes, tokens, promptRows, chunkRows, classes)
          : countRecordedReuse(notes, tokens, classes);
      },
    });
    this.runner = new SessionRunner({
      clock,
      recorder: recorder?.requests ?? null,
      meter: this.#meter,
      onStep: () => {
        if (this.#meter.steps % STEPS_PER_POLICY === 0) this.#choosePolicy();
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

  /** The pipeline that takes steps from now on; null while there is none. */
  setPipeline(pipeline: Pipeline | null, facts: PipelineFacts | null): void {
    this.#book.forgetAll();
    if (facts !== null) this.#facts = facts;
    this.runner.setPipeline(pipeline);
    if (pipeline !== null) {
      this.#choosePolicy();
      this.runner.pump();
      this.#admitNext();
      return;
    }
    const why = this.#options.cluster.refusal() ?? new NoodleError("CLUSTER_NOT_READY", "the stages are not connected");
    this.#refuseAll(why);
  }

  /** Ends all that runs and waits. */
  failAll(error: NoodleError): void {
    this.#refuseAll(error);
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
      queued: this.#line.length,
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

  async admit(generation: Generation): Promise<Admission> {
    const refusal = this.#options.cluster.refusal();
    if (refusal !== null) throw refusal;
    const at = this.#line.length === 0 ? this.#place(generation) : null;
    if (at !== null) return at;
    this.#line.join(generation, this.#estimateRetryMs());
    const { slot, give } = generation.waitForSlot();
    this.#gives.set(generation, give);
    try {
      return await slot;
    } finally {
      this.#gives.delete(generation);
      this.#line.leave(generation);
    }
  }

  begin(generation: Generation, { slot, pipeline }: Admission): Session {
    const { contextTokens, slots, tokenizer, cluster, recorder } = this.#options;
    const place = { id: randomBytes(16).toString("hex"), slot, epoch: pipeline.epoch, stages: pipeline.stages.length };
    const limits = { contextTokens, maxOutputRows: Math.max(slots, LEAST_MAX_OUTPUTS) };
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
      session.arrange(arrangeReplay(arrange, this.#facts.classes, session.slot, this.#options.slots));
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
    return readKvHashes(session, pipeline);
  }

  describeStages(session: Session): readonly StageStats[] {
    return this.#options.cluster.describeStages(session);
  }

  async close(session: Session, pipeline: Pipeline): Promise<void> {
    const { cluster, recorder } = this.#options;
    recorder?.requests.end(session, session.failure ?? null);
    await this.runner.settle(session, SETTLE_MS);
    this.runner.remove(session);
    const keeps = this.#options.prefixCacheBytes > 0 && pipeline === this.runner.pipeline && keepsPrefix(session);
    const keptTokens = await closeSession(session, pipeline, keeps);
    const since = this.#slotSinceMs.get(session.id) ?? this.nowMs();
    this.#slotSinceMs.delete(session.id);
    this.#holdMs += (this.nowMs() - since - this.#holdMs) / 8;
    const tokens = session.tokens.slice(0, keptTokens);
    const { id, slot, client, notes } = session;
    const kept = { slot, sessionId: id, client, tokens, notes, bytes: tokens.length * this.#facts.kvBytesPerToken };
    this.#book.release(slot, pipeline === this.runner.pipeline && keptTokens > 0 ? kept : null);
    cluster.closed(session);
    this.#admitNext();
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

  #place(generation: Generation): Admission | null {
    const { pipeline } = this.runner;
    const place = pipeline === null ? null : this.#book.take(generation.prompt);
    return place === null || pipeline === null ? null : { ...place, pipeline };
  }

  #admitNext(): void {
    while (this.#book.hasFree && this.runner.pipeline !== null && this.#options.cluster.refusal() === null) {
      const generation = this.#line.next();
      if (generation === null) return;
      if (generation.isCancelled) continue;
      const admission = this.#place(generation);
      if (admission !== null) this.#gives.get(generation)?.(admission);
    }
  }

  #refuseAll(error: NoodleError): void {
    for (const generation of this.#line) generation.cancel(error);
  }

  #estimateRetryMs(): number {
    const ms = (this.#holdMs * (this.#line.length + 1)) / this.#options.slots;
    return Math.round(Math.min(RETRY_MS.most, Math.max(RETRY_MS.least, ms)));
  }

  #choosePolicy(): void {
    const { pipeline } = this.runner;
    if (pipeline === null) return;
    const { slots, maxRows, determinism, wanted } = this.#options;
    // In strict, nothing of the load may show: what is measured is part of it.
    const costs = determinism === "strict" || this.#meter.steps === 0 ? null : this.#meter.read();
    const { classes } = this.#facts;
    const stages = pipeline.stages.length;
    const policy = choosePolicy({ stages, slots, determinism, classes, costs, maxRows, wanted });
    this.runner.setPolicy(policy);
    this.#book.align = policy.align;
  }
}
