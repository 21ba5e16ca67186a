import { randomBytes } from "node:crypto";
import { must, NoodleError } from "../../common/index.ts";
import { arrangeReplay, type Determinism } from "../../schedule/index.ts";
import { Admissions } from "./admissions.ts";
import type { Clock } from "./clock.ts";
import type { GenerateEvent, StageStats } from "./generate-event.ts";
import { checkNotes, type GenerateRequest } from "./generate-request.ts";
import { type Admission, Generation, type GenerationHost } from "./generation.ts";
import type { StepResult } from "../../protocol/index.ts";
import type { EventRecord } from "../../observe/index.ts";
import type { Fault } from "../state/index.ts";
import { toError, toFault } from "./convert.ts";
import type { FailedStep, Pipeline } from "./pipeline.ts";
import { describeMove, describeNotMoved } from "./move-records.ts";
import { PlanRun } from "./plan-run.ts";
import type { PipelineFacts, WantedPolicy } from "./policy-keeper.ts";
import { ReaderWatch } from "./reader-watch.ts";
import type { Recorder } from "./recorder.ts";
import { RecoveryWatch } from "./recovery-watch.ts";
import { describeServing, type StatusServing } from "./serving-status.ts";
import { Session, type SessionHistory } from "./session.ts";
import { closeSession, keepsPrefix, openSession, readKvHashes } from "./session-calls.ts";
import { SessionRestorer } from "./session-restorer.ts";
import { SessionStall } from "./session-stall.ts";
import { type PrefixSource, type PromptFacts, SlotBook } from "./slot-book.ts";
import type { LayerKvHash } from "./stage-client.ts";
import { isStageFault } from "./step-faults.ts";
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
  /** What runs and waits when stages are lost waits for others as long as this. */
  readonly recoveryWaitMs: number;
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
  /** It is open on the stages of another plan. */
  readonly moved: (session: Session) => void;
  /** The slot is free. */
  readonly closed: (session: Session) => void;
  /** Nothing runs any more on the plan of this epoch, which is not in force. */
  readonly formerIdle: (epoch: number) => void;
  /** A stage of this epoch does not do what is asked of it. */
  readonly stageFailed: (epoch: number, fault: Fault) => void;
  /** What made the plan in force, or the one before it, unusable; null when nothing did. */
  readonly lastFault: () => Fault | null;
  readonly describeStages: (session: Session) => readonly StageStats[];
}

/** Rows of a step whose rows are all outputs: as many as have room for their logits in so much memory, at least 8. */
const MAX_LOGITS_BYTES = 32 * 1024 * 1024;
const LEAST_OUTPUT_ROWS = 8;

/** Steps of a session that has ended may take this long before it is closed over them. */
const SETTLE_MS = 500;

/**
 * Serves generations: who waits, who has which slot, what leaves next, and what is kept for later. Sessions outlive the
 * stages that they run on: on those of the next plan they go on behind their last token.
 */
export class Serving implements GenerationHost {
  readonly #options: ServingOptions;
  readonly #book: SlotBook;
  readonly #admissions: Admissions;
  readonly #readers: ReaderWatch;
  readonly #restorer: SessionRestorer;
  readonly #recovery: RecoveryWatch;
  readonly #slotSinceMs = new Map<string, number>();
  /** Openings under way. */
  readonly #opening = new Map<Session, Promise<void>>();
  #current: PlanRun;
  /** The plan before it, until its last session has moved or ended. */
  #former: PlanRun | null = null;
  #formerEpoch = 0;
  /** Ends the waiting in line for a plan. */
  #lineTimer: NodeJS.Timeout | null = null;

  constructor(options: ServingOptions) {
    const { clock, queue, slots, maxRows, prefixCacheBytes, readerStallMs, cluster } = options;
    this.#options = options;
    this.#readers = new ReaderWatch(clock, readerStallMs);
    this.#current = this.#createRun();
    this.#book = new SlotBook({
      slots,
      limitBytes: prefixCacheBytes,
      countReuse: (notes, tokens, promptRows) => this.#current.keeper.countReuse(notes, tokens, promptRows),
    });
    this.#admissions = new Admissions({
      book: this.#book,
      queue,
      slots,
      pipeline: () => this.#current.pipeline,
      isHeld: cluster.isHeld,
      refusal: cluster.refusal,
    });
    this.#recovery = new RecoveryWatch((event) => this.#tell(event));
    this.#restorer = new SessionRestorer({
      clock,
      slots,
      maxRows,
      onOpened: (session, isExact) => {
        cluster.moved(session);
        if (!isExact) this.#recovery.noteInexact();
      },
      onNotMoved: (session, error) => this.#tell(describeNotMoved(session, error)),
      onStageFault: cluster.stageFailed,
      lastFault: cluster.lastFault,
    });
  }

  /** Null while nothing takes steps. */
  get pipeline(): Pipeline | null {
    return this.#current.pipeline;
  }

  /** Of all plans. */
  get sessions(): readonly Session[] {
    return this.#runs().flatMap(({ sessions }) => sessions);
  }

  /**
   * Generates; nothing happens before the first event is read.
   *
   * @param history of a generation that was begun before: tokens behind it are told
   * @throws CLUSTER_NOT_READY, QUEUE_FULL, DEADLINE_EXCEEDED, INTERRUPTED, TIMED_OUT for a reader that stands still,
   * ILLEGAL_STATE for a history that has ended, and the errors of the stages
   */
  async *generate(
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    signal: AbortSignal,
    history?: SessionHistory,
  ): AsyncGenerator<GenerateEvent, void, undefined> {
    const generation = new Generation(this, request, promptTokenIds, history);
    this.#readers.add(generation);
    try {
      yield* generation.read(signal);
    } finally {
      this.#readers.delete(generation);
    }
  }

  /**
   * Sessions begin on this pipeline from now on. Those whose stages are gone are filled into it; those of a plan that it
   * follows while that still serves move to it one by one.
   */
  open(pipeline: Pipeline, facts: PipelineFacts): void {
    const follows = this.#current.pipeline === null ? null : this.#current;
    if (follows !== null) {
      this.#adopt(this.#former, follows);
      this.#former = follows;
      this.#formerEpoch = must(follows.pipeline, "pipeline").epoch;
      this.#current = this.#createRun();
    }
    if (this.#lineTimer !== null) clearTimeout(this.#lineTimer);
    this.#lineTimer = null;
    this.#book.follow(pipeline.epoch);
    this.#current.open(pipeline, facts);
    this.#recovery.open(pipeline.epoch, this.#options.cluster.lastFault(), this.nowMs());
    this.#refillLost();
    if (follows !== null) void this.#moveAll(follows);
    this.#current.runner.pump();
    this.#admissions.admitNext();
  }

  /** The pipeline is gone. Its sessions wait for another. */
  close(pipeline: Pipeline): void {
    const run = this.#findRun(pipeline.epoch);
    if (run?.pipeline !== pipeline) return;
    run.close();
    const running = run.sessions.filter(({ isOver }) => !isOver);
    const nowMs = this.nowMs();
    for (const session of running) {
      session.interrupt();
      session.stall = new SessionStall("recovery", session.stall?.startMs ?? nowMs, session.notedRows);
    }
    this.#recovery.begin(this.#options.cluster.lastFault(), running, nowMs);
    if (run !== this.#current) this.#refillLost();
    else if (!this.#options.cluster.isHeld()) this.#waitInLine();
  }

  pump(epoch: number): void {
    this.#findRun(epoch)?.runner.pump();
  }

  /** Takes what the last stage of a plan answers; what comes of a plan whose pipeline is gone is dropped. */
  receive(epoch: number, result: StepResult): void {
    this.#recovery.noteSign(this.nowMs());
    this.#findRun(epoch)?.runner.receive(result);
  }

  failStep(step: FailedStep, fault: Fault): void {
    this.#findRun(step.epoch)?.runner.failStep(step, fault);
  }

  /** Ends a session, whatever plan it runs on. */
  fail(sessionId: Session["id"], fault: Fault): void {
    for (const { runner } of this.#runs()) runner.fail(sessionId, toError(fault));
  }

  /** What waited while one plan followed another begins, or hears why it can't. */
  release(): void {
    const refusal = this.#options.cluster.refusal();
    if (refusal === null) this.#admissions.admitNext();
    else if (this.#lineTimer === null) this.#admissions.refuseAll(refusal);
  }

  /** Ends all that runs and waits. */
  failAll(error: NoodleError): void {
    this.#admissions.refuseAll(error);
    for (const session of this.sessions) session.fail(error);
  }

  stop(): void {
    this.#readers.stop();
    if (this.#lineTimer !== null) clearTimeout(this.#lineTimer);
  }

  describe(): StatusServing {
    const { determinism, queue, prefixCacheBytes } = this.#options;
    const { runner } = this.#current;
    return describeServing({
      determinism,
      running: this.#book.occupied,
      queued: this.#admissions.waiting,
      queue,
      policy: runner.policy,
      counter: runner.counter,
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
    this.#runOf(session)?.runner.wake(session);
  }

  admit(generation: Generation): Promise<Admission> {
    return this.#admissions.admit(generation);
  }

  begin(generation: Generation, { slot, pipeline: admitted }: Admission): Session {
    const { contextTokens, maxRows, tokenizer, cluster, recorder } = this.#options;
    const { epoch, stages } = this.#current.pipeline ?? admitted;
    const id = generation.history?.id ?? randomBytes(16).toString("hex");
    const place = { id, slot, epoch, stages: stages.length };
    const rowsWithRoom = Math.floor(MAX_LOGITS_BYTES / (tokenizer.vocabSize * Float32Array.BYTES_PER_ELEMENT));
    const limits = { contextTokens, maxOutputRows: Math.min(maxRows, Math.max(LEAST_OUTPUT_ROWS, rowsWithRoom)) };
    const { request, prompt, output } = generation;
    const session = new Session(place, request, prompt.tokens, limits, tokenizer, output);
    this.#book.settle(session);
    this.#slotSinceMs.set(session.id, this.nowMs());
    this.#current.runner.add(session);
    cluster.opened(session);
    recorder?.requests.start(session, this.nowMs() - generation.startMs);
    return session;
  }

  async openOn(session: Session, admission: Admission, generation: Generation): Promise<void> {
    const opened = this.#open(session, admission, generation);
    this.#opening.set(session, opened);
    try {
      await opened;
    } finally {
      this.#opening.delete(session);
    }
  }

  readKvHashes(session: Session, admitted: Pipeline): Promise<readonly LayerKvHash[]> {
    return readKvHashes(session, this.#pipelineOf(session) ?? admitted);
  }

  describeStages(session: Session): readonly StageStats[] {
    return this.#options.cluster.describeStages(session);
  }

  async free(session: Session): Promise<void> {
    const { cluster, recorder } = this.#options;
    recorder?.requests.end(session, session.failure ?? null);
    this.#recovery.end(session);
    await this.#restorer.settle(session);
    const run = this.#runOf(session) ?? this.#current;
    await run.runner.settle(session, SETTLE_MS);
    run.runner.remove(session);
    const pipeline = this.#pipelineOf(session);
    const isCurrent = (): boolean => pipeline !== null && pipeline === this.#current.pipeline;
    const keeps = this.#options.prefixCacheBytes > 0 && isCurrent() && keepsPrefix(session);
    const keptTokens = pipeline === null ? 0 : await closeSession(session, pipeline, keeps);
    const since = this.#slotSinceMs.get(session.id) ?? this.nowMs();
    this.#slotSinceMs.delete(session.id);
    this.#admissions.learnHold(this.nowMs() - since);
    const tokens = session.tokens.slice(0, keptTokens);
    const { id: sessionId, slot, client, notes } = session;
    const bytes = tokens.length * this.#current.keeper.facts.kvBytesPerToken;
    this.#book.release(slot, isCurrent() && keptTokens > 0 ? { slot, sessionId, client, tokens, notes, bytes } : null);
    cluster.closed(session);
    this.#checkFormer();
    this.#admissions.admitNext();
    run.runner.pump();
  }

  refused(error: NoodleError): void {
    this.#options.recorder?.noteRefused(error);
  }

  async #open(session: Session, { source }: Admission, { prompt, history }: Generation): Promise<void> {
    const { arrange } = session.request;
    if (history !== undefined) session.resume(history);
    const run = this.#current;
    const { pipeline } = run;
    // Its stages went before it came to them: the next ones take it.
    if (pipeline === null || session.epoch !== pipeline.epoch) return this.#refillLost();
    if (history !== undefined) return this.#restorer.refill(session, run);
    if (arrange !== undefined) {
      checkNotes(arrange, this.#options.contextTokens);
      session.arrange(arrangeReplay(arrange, run.keeper.facts.classes, session.slot, this.#options.slots));
    }
    try {
      const start = await this.#openWith(session, pipeline, await this.#followLeader(session, source, prompt));
      if (prompt.cachePrompt) this.#book.count(start);
      if (session.epoch !== pipeline.epoch || run.pipeline !== pipeline) return;
      if (start !== null) session.startWith(start.tokens, start.notes);
      session.run();
      run.runner.wake(session);
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      if (session.isOver || (run.pipeline === pipeline && !isStageFault(error))) throw error;
      if (run.pipeline === pipeline) this.#options.cluster.stageFailed(pipeline.epoch, toFault(error, ""));
    }
  }

  /** @returns what the stages start it with */
  async #openWith(session: Session, pipeline: Pipeline, start: PrefixSource | null): Promise<PrefixSource | null> {
    if (session.epoch !== pipeline.epoch) return null;
    if (await openSession(session, pipeline, start)) return start;
    // A stage does not have it any more: what the others made of it goes too.
    this.#book.countGone();
    await closeSession(session, pipeline, false);
    await openSession(session, pipeline, null);
    return null;
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
    return session.epoch === this.#current.pipeline?.epoch ? this.#book.findSource(prompt) : null;
  }

  #waitInLine(): void {
    const { recoveryWaitMs, cluster } = this.#options;
    const refuse = (): void => {
      this.#lineTimer = null;
      const why = new NoodleError("CLUSTER_NOT_READY", "the stages are not connected");
      this.#admissions.refuseAll(cluster.refusal() ?? why);
    };
    if (recoveryWaitMs === 0) refuse();
    else this.#lineTimer ??= setTimeout(refuse, recoveryWaitMs);
  }

  /** Sessions whose stages are gone are filled into those of the plan in force, if it has some. */
  #refillLost(): void {
    const { pipeline } = this.#current;
    if (pipeline === null) return;
    if (this.#former?.pipeline === null) this.#adopt(this.#former, this.#current);
    for (const session of this.#current.sessions) {
      if (session.epoch !== pipeline.epoch) this.#restorer.refill(session, this.#current);
    }
    this.#checkFormer();
  }

  #adopt(from: PlanRun | null, to: PlanRun): void {
    for (const session of from?.sessions ?? []) {
      from?.runner.remove(session);
      to.runner.add(session);
    }
  }

  async #moveAll(from: PlanRun): Promise<void> {
    for (const session of from.sessions) {
      if (from.pipeline === null || this.#former !== from) return;
      await this.#restorer.move(session, from, this.#current, this.#opening.get(session) ?? Promise.resolve());
    }
    this.#checkFormer();
  }

  #checkFormer(): void {
    if (this.#former === null || this.#former.sessions.length > 0) return;
    this.#former = null;
    const epoch = this.#formerEpoch;
    queueMicrotask(() => this.#options.cluster.formerIdle(epoch));
  }

  #noteResumed(session: Session): void {
    const { stall } = session;
    if (stall === null) return;
    const nowMs = this.nowMs();
    this.#recovery.resume(session, nowMs);
    if (stall.kind === "move") this.#tell(describeMove(session, stall, nowMs));
    session.stall = null;
  }

  #tell(event: EventRecord): void {
    this.#options.recorder?.noteState(event);
  }

  #runs(): readonly PlanRun[] {
    return this.#former === null ? [this.#current] : [this.#former, this.#current];
  }

  #findRun(epoch: number): PlanRun | undefined {
    return this.#runs().find(({ pipeline }) => pipeline?.epoch === epoch);
  }

  #runOf(session: Session): PlanRun | undefined {
    return this.#runs().find(({ runner }) => runner.has(session));
  }

  /** A session can outlive the pipeline that it was admitted to. */
  #pipelineOf(session: Session): Pipeline | null {
    return this.#findRun(session.epoch)?.pipeline ?? null;
  }

  #createRun(): PlanRun {
    const { clock, recorder, slots, maxRows, determinism, wanted } = this.#options;
    return new PlanRun({
      clock,
      recorder: recorder?.requests ?? null,
      policy: { slots, maxRows, determinism, wanted },
      onPolicy: (run) => {
        if (run === this.#current && run.runner.policy !== null) this.#book.align = run.runner.policy.align;
      },
      onResumed: (session) => this.#noteResumed(session),
    });
  }
}
