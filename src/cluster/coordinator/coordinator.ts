import { collectGarbage, NoodleError } from "../../common/index.ts";
import type { NoodleServer } from "../../net/index.ts";
import { PROTOCOL_VERSION } from "../../protocol/index.ts";
import type { CoordinatorState, EventRow } from "../../store/index.ts";
import { bindEnrollment, secureCoordinator } from "./access.ts";
import { hashOf } from "./assigner.ts";
import { BusyShares } from "./busy-shares.ts";
import { chooseContext } from "./choose-layout.ts";
import type { ReadyProgress } from "./describe.ts";
import type { GenerateEvent } from "./generate-event.ts";
import { checkRequest, type GenerateRequest, readPrompt } from "./generate-request.ts";
import { JournaledRequests } from "./journaled-requests.ts";
import { journalEvents } from "./journaled-events.ts";
import type { ModelSource } from "./model-source.ts";
import { openModelSource } from "./open-model.ts";
import { type CompiledCoordinatorOptions, compileCoordinatorOptions, type CoordinatorOptions } from "./options.ts";
import type { WantedPlan } from "./replan-request.ts";
import { type ReplanDocument, type ReplanOptions, requestDrain, requestReplan } from "./replanner.ts";
import { waitReady } from "./wait-ready.ts";
import { Recorder } from "./recorder.ts";
import { bindCoordinator, bindTransfer } from "./services.ts";
import { describeObserving, requireHooks } from "./observing.ts";
import { Plans } from "./plans.ts";
import type { SessionHistory } from "./session.ts";
import { describeStatus, type StatusDocument } from "./status.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import { untilTaken } from "./until-taken.ts";
import { TransferHandler } from "./transfer.ts";

/** How long sessions get to tell the stages that they are over. */
const CLOSE_GRACE_MS = 2000;

/** A generation of an earlier start waits so long for its workers. */
const RESUME_PATIENCE_MS = 600_000;

/**
 * The one process that knows the whole cluster: it registers workers, gives out stages, runs sessions through the
 * pipeline and keeps their token history. It reads the model's file to hand out its bytes, and never loads weights.
 */
export class Coordinator {
  readonly #options: CompiledCoordinatorOptions;
  readonly #source: ModelSource;
  readonly #tokenizer: PromptTokenizer;
  readonly #state: CoordinatorState;
  readonly #contextTokens: number;
  readonly #plans: Plans;
  readonly #server: NoodleServer;
  readonly #stopWatching: () => void;
  readonly #startedMs: number;
  /** Null where nobody observes. */
  readonly #recorder: Recorder | null;
  readonly #journaled: JournaledRequests;
  readonly #shares = new BusyShares();
  #address = "";
  #closing: Promise<void> | null = null;

  /**
   * Opens the model, listens, and waits for workers.
   *
   * @throws USAGE, SPLIT_INVALID and the errors of the model's file; PORT_IN_USE
   */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    const compiled = compileCoordinatorOptions(options);
    const early: EventRow[] = [];
    let tell = (event: EventRow): void => void early.push(event);
    const state = compiled.openState(compiled.dataDir, (event) => {
      options.onStateEvent?.(event);
      tell(event);
    });
    let source: ModelSource | null = null;
    try {
      source =
        typeof options.model === "string"
          ? await openModelSource(options.model, state, { onProgress: options.onHashing, signal: options.signal })
          : options.model;
      const coordinator = new Coordinator(compiled, source, options.tokenizer, state);
      tell = (event) => coordinator.#recorder?.noteState(event);
      for (const event of early) tell(event);
      try {
        await coordinator.#listen();
      } catch (error) {
        coordinator.#stop();
        throw error;
      }
      collectGarbage();
      return coordinator;
    } catch (error) {
      await source?.close();
      await state.close();
      throw error;
    }
  }

  private constructor(
    options: CompiledCoordinatorOptions,
    source: ModelSource,
    tokenizer: PromptTokenizer,
    state: CoordinatorState,
  ) {
    const { clock, security } = options;
    this.#options = options;
    this.#source = source;
    this.#tokenizer = tokenizer;
    this.#state = state;
    this.#startedMs = clock.nowMs();
    this.#contextTokens = chooseContext(options.contextTokens, source.contextLength);
    const { observer, sampleEvery, sampleLevel, hooks, observePrompts } = options;
    const sampling = { every: hooks ? sampleEvery : 0, level: sampleLevel };
    const model = { sourceSha256: hashOf(source), units: source.unitCount };
    this.#recorder =
      observer === null ? null : new Recorder({ observer, sampling, withPrompts: observePrompts, model });
    this.#plans = new Plans({
      options,
      source,
      tokenizer,
      state,
      contextTokens: this.#contextTokens,
      recorder: this.#recorder,
      onBusy: (nodeId, reading) => this.#shares.hear(nodeId, reading),
      isClosing: () => this.#closing !== null,
    });
    this.#journaled = new JournaledRequests({
      state,
      model: hashOf(source),
      contextTokens: this.#contextTokens,
      tokenizer,
      resume: (request, promptTokenIds, history, signal) => this.resume(request, promptTokenIds, history, signal),
    });
    this.#server = options.transport.createServer({
      host: options.host,
      port: options.grpcPort,
      nodeId: "coordinator",
      services: [
        bindCoordinator(this, this.#plans.links),
        bindTransfer(new TransferHandler(source)),
        ...(security === null ? [] : [bindEnrollment(security)]),
      ],
      security: security === null ? undefined : secureCoordinator(security),
    });
    this.#stopWatching = security?.roster.onRevoked((revoked) => this.#shutOut(revoked)) ?? ((): void => undefined);
  }

  /** Waits until a later coordinator has its state. @throws STATE_TAKEN */
  untilTaken(signal: AbortSignal): Promise<void> {
    return untilTaken(this.#state, signal);
  }

  /** What its state keeps of requests beyond this process. */
  get journaled(): JournaledRequests {
    return this.#journaled;
  }

  /** host:port of its gRPC services. */
  get address(): string {
    return this.#address;
  }

  /** Epoch of the current plan; 0 before the first. */
  get epoch(): number {
    return this.#plans.control.state.plan?.epoch ?? 0;
  }

  get contextTokens(): number {
    return this.#contextTokens;
  }

  /**
   * Waits until sessions can run.
   *
   * @param onFailed told of a stage that no worker can take, and another worker is waited for; without it that ends the
   * waiting
   * @throws TIMED_OUT naming what is missing; INTERRUPTED; the error of a stage that no other worker can take
   */
  waitReady(
    signal: AbortSignal,
    timeoutMs: number,
    onProgress?: (progress: ReadyProgress) => void,
    onFailed?: (error: NoodleError) => void,
  ): Promise<void> {
    return waitReady({
      control: this.#plans.control,
      clock: this.#options.clock,
      signal,
      timeoutMs,
      isServing: () => this.#plans.isServing,
      isClosing: () => this.#closing !== null,
      onProgress,
      onFailed,
    });
  }

  /**
   * Gives the units of a worker, by name or id, to others, as `replan` does; it gets none until it is started again.
   *
   * @throws CLUSTER_NOT_READY as `replan`; PLAN_INVALID; PLAN_INFEASIBLE when nobody has room for them
   */
  drain(node: string, options?: ReplanOptions): ReplanDocument {
    return requestDrain(this.#plans.control, this.#source, node, options);
  }

  /**
   * Asks for another plan and returns at once. It is prepared beside the one in force, which serves until the new one
   * can take over; new sessions are the new plan's then, and those that run move to it one by one, between two of their
   * tokens. Where a worker has no room for both, nothing new begins until the last session has ended. Whatever fails leaves the plan in force as it
   * is; `status().plan` and the events tell what became of it.
   *
   * @param reason in words, for events and logs
   * @throws CLUSTER_NOT_READY while a plan is not in force, or another change is under way; PLAN_INVALID, SPLIT_INVALID,
   * PLAN_INFEASIBLE
   */
  replan(wanted: WantedPlan, reason: string, options?: ReplanOptions): ReplanDocument {
    return requestReplan(this.#plans.control, this.#source, wanted, reason, options);
  }

  /**
   * Generates text. Where no slot is free it waits in the queue; the slot is free again when the iteration has ended,
   * however it ends. Nothing happens before the first event is read.
   *
   * @throws CLUSTER_NOT_READY, QUEUE_FULL, PROMPT_EMPTY, CONTEXT_EXCEEDED, USAGE; DEADLINE_EXCEEDED; INTERRUPTED when
   * `signal` is aborted; TIMED_OUT for a reader that stands still; PEER_DEAD, PEER_STALLED, ENGINE_ABORTED and others
   * naming the node in `details.nodeId`
   */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const promptTokenIds = this.#check(request);
    const start = (wanted: GenerateRequest, end: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> =>
      this.#plans.serving.generate(wanted, promptTokenIds, end);
    const generation = { request, model: hashOf(this.#source) };
    yield* this.#options.journal ? journalEvents(this.#state, generation, start, signal) : start(request, signal);
  }

  /**
   * Goes on with a generation that was begun before, as soon as steps can run: its stages are filled with what is known
   * of it, and tokens behind that are told.
   *
   * @param request `deadlineMs` is what is left of it
   * @throws as `generate`; TIMED_OUT where no steps can run in time; ILLEGAL_STATE for a history that has ended
   */
  async *resume(
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    history: SessionHistory,
    signal: AbortSignal,
  ): AsyncGenerator<GenerateEvent, void, undefined> {
    const patienceMs = Math.min(request.deadlineMs ?? RESUME_PATIENCE_MS, RESUME_PATIENCE_MS);
    await this.waitReady(signal, patienceMs, undefined, () => undefined);
    yield* this.#plans.serving.generate(request, promptTokenIds, signal, history);
  }

  status(): StatusDocument {
    const { clock, parallel } = this.#options;
    return describeStatus(this.#plans.control.state, this.#plans.serving.sessions, {
      address: this.#address,
      pid: process.pid,
      rss_bytes: process.memoryUsage.rss(),
      cpu_ratio: this.#shares.coordinator,
      findEngineShare: (nodeId) => this.#shares.engineOf(nodeId),
      coordinator_epoch: this.#state.term,
      protocol_version: PROTOCOL_VERSION,
      uptime_ms: Math.round(clock.nowMs() - this.#startedMs),
      model: { path: this.#source.identity.path, units: this.#source.unitCount, bytes: this.#source.fileBytes },
      context_tokens: this.#contextTokens,
      parallel,
      threads: this.#options.threads,
      observing: describeObserving(this.#options, this.#recorder),
      pipelineOpen: this.#plans.isServing,
      findLink: (nodeId) => this.#plans.probe.find(nodeId),
      live: this.#options.readLive?.() ?? null,
      serving: this.#plans.serving.describe(),
    });
  }

  /**
   * What a request looked like from inside: a document of schema `noodle.trace.v1`.
   *
   * @throws USAGE where no traces are kept, SESSION_NOT_FOUND when nothing is known of it (any more)
   */
  readTrace(sessionId: string): object {
    const { traces } = this.#options;
    if (traces === null) throw new NoodleError("USAGE", "this coordinator keeps no traces of requests");
    const trace = traces.readTrace(sessionId);
    if (trace === null) throw new NoodleError("SESSION_NOT_FOUND", `no trace of session ${sessionId}`);
    return trace;
  }

  /** Ends the sessions, tells the workers, and stops. Closing twice is safe. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + CLOSE_GRACE_MS;
    this.#plans.serving.failAll(new NoodleError("INTERRUPTED", "the coordinator is closing"));
    while (this.#plans.control.state.sessions.size > 0 && clock.nowMs() < deadlineMs) {
      await this.#plans.control.nextChange(deadlineMs - clock.nowMs());
    }
    this.#stop();
    await this.#server.close();
    await this.#source.close();
    await this.#state.close();
  }

  /** What a member that was shut out has open ends now. */
  #shutOut(revoked: ReadonlySet<string>): void {
    this.#plans.links.expel(revoked);
    this.#server.cutOff((peer) => peer.role === "node" && revoked.has(peer.nodeId));
  }

  #stop(): void {
    this.#stopWatching();
    this.#plans.stop();
    this.#recorder?.close();
  }

  async #listen(): Promise<void> {
    const port = await this.#server.start();
    const { host } = this.#options;
    this.#address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    this.#plans.control.start();
  }

  /** A request that is refused has no session and so no records: an event says so. */
  #check(request: GenerateRequest): readonly number[] {
    try {
      checkRequest(request, this.#options.maxRows);
      this.#state.requireTerm();
      if (request.observe !== undefined) requireHooks(this.#options, request.observe);
      return readPrompt(request.prompt, this.#tokenizer, this.#contextTokens);
    } catch (error) {
      this.#recorder?.noteRefused(NoodleError.from(error));
      throw error;
    }
  }
}
