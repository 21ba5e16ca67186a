import { readStageHolders, type StageHolders, writeStageHolders } from "./holder-store.ts";
import { randomBytes } from "node:crypto";
import { collectGarbage, NoodleError } from "../../common/index.ts";
import { createServer, type NoodleServer } from "../../net/index.ts";
import { readHookLevel } from "../../observe/index.ts";
import { PROTOCOL_VERSION } from "../../protocol/index.ts";
import { judgeHealth, lowestFreeSlot, type Plan, planHolders } from "../state/index.ts";
import { Connector } from "./connector.ts";
import { Control } from "./control.ts";
import { toError } from "./convert.ts";
import { describeProgress, describeStages, placeStage, type ReadyProgress } from "./describe.ts";
import { firstPlanEpoch, takeCoordinatorEpoch } from "./epoch-store.ts";
import { type GenerateEvent, type GenerationHost, readPrompt, runGeneration } from "./generation.ts";
import { LinkProbe } from "./link-probe.ts";
import type { ModelSource } from "./model-source.ts";
import { openModelSource } from "./open-model.ts";
import {
  type CompiledCoordinatorOptions,
  compileCoordinatorOptions,
  type CoordinatorOptions,
  DEFAULT_CONTEXT_TOKENS,
  requireInteger,
} from "./options.ts";
import type { Pipeline } from "./pipeline.ts";
import { Recorder } from "./recorder.ts";
import { SessionRunner } from "./runner.ts";
import { bindCoordinator, bindTransfer } from "./services.ts";
import { type GenerateRequest, Session } from "./session.ts";
import { describeStatus, type StatusDocument, type StatusFacts } from "./status.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import { TransferHandler } from "./transfer.ts";
import { WorkerLinks } from "./workers.ts";

const PROGRESS_INTERVAL_MS = 500;
/** How long sessions get to tell the stages that they are over. */
const CLOSE_GRACE_MS = 2000;
const MAX_TOKENS = 0xffffffff;

/**
 * The one process that knows the whole cluster: it registers workers, gives out stages, runs sessions through the
 * pipeline and keeps their token history. It reads the model's file to hand out its bytes, and never loads weights.
 */
export class Coordinator {
  readonly #options: CompiledCoordinatorOptions;
  readonly #source: ModelSource;
  readonly #tokenizer: PromptTokenizer;
  readonly #coordinatorEpoch: number;
  readonly #contextTokens: number;
  readonly #control: Control;
  readonly #links: WorkerLinks;
  readonly #runner: SessionRunner;
  readonly #connector: Connector;
  readonly #server: NoodleServer;
  readonly #startedMs: number;
  /** Null where nobody observes. */
  readonly #recorder: Recorder | null;
  readonly #probe: LinkProbe;
  /** Epoch of the stage that each node was told to hold. */
  #assigned = new Map<string, number>();
  /** The last plan's holders are on disk; whoever closes may remove the data directory afterwards. */
  #holdersWritten: Promise<void> = Promise.resolve();
  #address = "";
  #closing: Promise<void> | null = null;

  /**
   * Opens the model, listens, and waits for workers.
   *
   * @throws USAGE, SPLIT_INVALID and the errors of the model's file; PORT_IN_USE
   */
  static async start(options: CoordinatorOptions): Promise<Coordinator> {
    const compiled = compileCoordinatorOptions(options);
    const source =
      typeof options.model === "string"
        ? await openModelSource(options.model, compiled.dataDir, {
            onProgress: options.onHashing,
            signal: options.signal,
          })
        : options.model;
    try {
      const coordinatorEpoch = await takeCoordinatorEpoch(compiled.dataDir);
      const formerHolders = await readStageHolders(compiled.dataDir, modelKey(source));
      const coordinator = new Coordinator(compiled, source, options.tokenizer, coordinatorEpoch, formerHolders);
      try {
        await coordinator.#listen();
      } catch (error) {
        coordinator.#stop();
        throw error;
      }
      collectGarbage();
      return coordinator;
    } catch (error) {
      await source.close();
      throw error;
    }
  }

  private constructor(
    options: CompiledCoordinatorOptions,
    source: ModelSource,
    tokenizer: PromptTokenizer,
    coordinatorEpoch: number,
    formerHolders: StageHolders,
  ) {
    const { clock, expect } = options;
    this.#options = options;
    this.#source = source;
    this.#tokenizer = tokenizer;
    this.#coordinatorEpoch = coordinatorEpoch;
    this.#startedMs = clock.nowMs();
    this.#contextTokens = chooseContext(options.contextTokens, source.contextLength);
    const split = options.split === null ? source.splitByBytes(expect) : source.parseSplit(options.split);
    if (split.length !== expect) {
      throw new NoodleError(
        "SPLIT_INVALID",
        `the split has ${split.length} stages for ${expect} workers (--split, --expect)`,
      );
    }
    const { observer, sampleEvery, sampleLevel, hooks, observePrompts } = options;
    const sampling = { every: hooks ? sampleEvery : 0, level: sampleLevel };
    this.#recorder = observer === null ? null : new Recorder({ observer, sampling, withPrompts: observePrompts });
    this.#probe = new LinkProbe((record) => this.#recorder?.link(record));
    this.#runner = new SessionRunner(clock, this.#recorder?.requests ?? null);
    this.#connector = new Connector({
      clock,
      stepTimeoutMs: options.stepTimeoutMs,
      onRoom: () => this.#runner.pump(),
      onResult: (result) => this.#runner.receive(result),
      recordSteps: (state, epoch) => this.#recorder?.startSteps(state, epoch) ?? null,
      onStepFailed: (sessionIds, fault) => {
        this.#recorder?.noteStepFailed(sessionIds, fault);
        for (const id of sessionIds) this.#runner.fail(id, fault);
      },
      onPipeline: (pipeline) => {
        this.#recorder?.noteServing(pipeline?.epoch ?? null);
        this.#probe.follow(pipeline?.stages ?? []);
        this.#runner.setPipeline(pipeline);
        this.#control.wakeWatchers();
      },
      onBroken: (epoch, fault) => this.#control.dispatch({ type: "pipelineBroken", epoch, fault }),
    });
    this.#control = new Control(
      {
        split,
        leaseMs: options.leaseMs,
        protocolVersion: PROTOCOL_VERSION,
        firstEpoch: firstPlanEpoch(coordinatorEpoch),
        engineBuild: options.engineBuild,
        parallel: options.parallel,
        threads: options.threads,
        cpuVariant: options.cpuVariant,
        formerHolders,
      },
      clock,
      {
        assign: (plan) => this.#assign(plan),
        expire: (nodeId, incarnation, fault) => this.#links.drop(nodeId, incarnation, toError(fault)),
        endSession: (sessionId, fault) => this.#runner.fail(sessionId, fault),
        changed: (state) => {
          this.#recorder?.follow(state);
          this.#connector.follow(state);
        },
      },
    );
    this.#links = new WorkerLinks({
      control: this.#control,
      clock,
      coordinatorEpoch,
      leaseMs: options.leaseMs,
      onObservation: (nodeId, observation) => this.#recorder?.observe(nodeId, observation),
      onDropped: (nodeId, count) => this.#recorder?.noteDropped(nodeId, count),
    });
    this.#server = createServer({
      host: options.host,
      port: options.grpcPort,
      nodeId: "coordinator",
      services: [bindCoordinator(this, this.#links), bindTransfer(new TransferHandler(source))],
    });
  }

  /** host:port of its gRPC services. */
  get address(): string {
    return this.#address;
  }

  /** Epoch of the current plan; 0 before the first. */
  get epoch(): number {
    return this.#control.state.plan?.epoch ?? 0;
  }

  get contextTokens(): number {
    return this.#contextTokens;
  }

  /**
   * Waits until sessions can run.
   *
   * @throws TIMED_OUT naming what is missing; INTERRUPTED; the error of a stage that no other worker can take
   */
  async waitReady(
    signal: AbortSignal,
    timeoutMs: number,
    onProgress?: (progress: ReadyProgress) => void,
  ): Promise<void> {
    const { clock } = this.#options;
    const deadlineMs = clock.nowMs() + timeoutMs;
    const onAbort = (): void => this.#control.wakeWatchers();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      while (this.#runner.pipeline === null) {
        if (signal.aborted) throw new NoodleError("INTERRUPTED", "waiting for the workers was interrupted");
        if (this.#closing !== null) throw new NoodleError("INTERRUPTED", "the coordinator is closing");
        const health = judgeHealth(this.#control.state);
        if (health.status === "failed") throw toError(health.fault);
        const progress = describeProgress(this.#control.state);
        onProgress?.(progress);
        const leftMs = deadlineMs - clock.nowMs();
        if (leftMs <= 0) {
          throw new NoodleError("TIMED_OUT", `the cluster was not ready after ${timeoutMs} ms: ${progress.reason}`);
        }
        await this.#control.nextChange(Math.min(leftMs, PROGRESS_INTERVAL_MS));
      }
      onProgress?.(describeProgress(this.#control.state));
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Generates text. The session's slot is free again when the iteration has ended, however it ends.
   *
   * @throws CLUSTER_NOT_READY, SESSION_LIMIT, PROMPT_EMPTY, CONTEXT_EXCEEDED, USAGE; INTERRUPTED when `signal` is
   * aborted; PEER_DEAD, PEER_STALLED, ENGINE_ABORTED and others naming the node in `details.nodeId`
   */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const { clock } = this.#options;
    const { prefillRows, promptTokenIds } = this.#noteRefusal(() => this.#check(request));
    const host: GenerationHost = {
      runner: this.#runner,
      tokenizer: this.#tokenizer,
      nowMs: () => clock.nowMs(),
      admit: (ids) => this.#noteRefusal(() => this.#admit(request, ids, prefillRows)),
      finish: (session, error) => this.#recorder?.requests.end(session, error),
      release: (session) => this.#control.dispatch({ type: "sessionClosed", sessionId: session.id }),
      describeStages: (session) => describeStages(this.#control.state, session),
    };
    yield* runGeneration(host, promptTokenIds, signal);
  }

  status(): StatusDocument {
    const { clock, parallel } = this.#options;
    return describeStatus(this.#control.state, this.#runner.sessions, {
      address: this.#address,
      pid: process.pid,
      rss_bytes: process.memoryUsage.rss(),
      coordinator_epoch: this.#coordinatorEpoch,
      protocol_version: PROTOCOL_VERSION,
      uptime_ms: Math.round(clock.nowMs() - this.#startedMs),
      model: { path: this.#source.identity.path, units: this.#source.unitCount, bytes: this.#source.fileBytes },
      context_tokens: this.#contextTokens,
      parallel,
      threads: this.#options.threads,
      observing: this.#describeObserving(),
      pipelineOpen: this.#runner.pipeline !== null,
      findLink: (nodeId) => this.#probe.find(nodeId),
      live: this.#options.readLive?.() ?? null,
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
    for (const session of this.#runner.sessions)
      session.fail(new NoodleError("INTERRUPTED", "the coordinator is closing"));
    while (this.#control.state.sessions.size > 0 && clock.nowMs() < deadlineMs) {
      await this.#control.nextChange(deadlineMs - clock.nowMs());
    }
    this.#stop();
    await this.#server.close();
    await this.#source.close();
    await this.#holdersWritten;
  }

  #stop(): void {
    this.#probe.stop();
    this.#recorder?.close();
    this.#connector.close();
    this.#links.close("the coordinator is closing");
    this.#control.stop();
  }

  async #listen(): Promise<void> {
    const port = await this.#server.start();
    const { host } = this.#options;
    this.#address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    this.#control.start();
  }

  #check(request: GenerateRequest): { readonly prefillRows: number; readonly promptTokenIds: readonly number[] } {
    const { prefillRows: defaultRows, maxRows } = this.#options;
    requireInteger(request.maxTokens, "maxTokens", 0, MAX_TOKENS);
    const prefillRows = requireInteger(request.prefillRows ?? defaultRows, "prefillRows", 1, maxRows);
    if (request.observe !== undefined) this.#requireHooks(request.observe);
    return { prefillRows, promptTokenIds: readPrompt(request.prompt, this.#tokenizer, this.#contextTokens) };
  }

  /** A request that is refused has no session and so no records: an event says so. */
  #noteRefusal<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      this.#recorder?.noteRefused(NoodleError.from(error));
      throw error;
    }
  }

  #admit(
    request: GenerateRequest,
    promptTokenIds: readonly number[],
    prefillRows: number,
  ): { session: Session; pipeline: Pipeline } {
    const { pipeline } = this.#runner;
    const { state } = this.#control;
    if (pipeline === null || this.#closing !== null || judgeHealth(state).status !== "ready") {
      throw new NoodleError(
        "CLUSTER_NOT_READY",
        `the cluster is not ready: ${describeProgress(this.#control.state).reason}`,
      );
    }
    const slot = lowestFreeSlot(state);
    if (slot === null) {
      const { parallel } = this.#options;
      throw new NoodleError("SESSION_LIMIT", `${parallel} sessions are running, the limit is ${parallel} (--parallel)`);
    }
    const where = { id: randomBytes(16).toString("hex"), slot, epoch: pipeline.epoch, stages: pipeline.stages.length };
    const session = new Session(where, request, promptTokenIds, {
      contextTokens: this.#contextTokens,
      prefillRows,
      isEndOfGeneration: (tokenId) => this.#tokenizer.isEndOfGeneration(tokenId),
    });
    this.#control.dispatch({ type: "sessionOpened", session: { id: session.id, slot, epoch: session.epoch } });
    this.#recorder?.requests.start(session);
    return { session, pipeline };
  }

  #requireHooks(level: string): void {
    readHookLevel(level, "observe");
    const why = !this.#options.hooks
      ? "its workers run without hooks"
      : this.#recorder === null
        ? "nobody observes"
        : "";
    if (why !== "") throw new NoodleError("USAGE", `this coordinator cannot look into a request's steps: ${why}`);
  }

  #describeObserving(): StatusFacts["observing"] {
    const { hooks, sampleEvery, sampleLevel } = this.#options;
    const { taken, refused, dropped } = this.#recorder?.observations ?? { taken: 0, refused: 0, dropped: 0 };
    return {
      observed: this.#recorder !== null,
      hooks,
      sample_every: sampleEvery,
      sample_level: sampleLevel,
      observations: taken,
      observations_refused: refused,
      observations_dropped: dropped,
      observer_failures: this.#recorder?.observerFailures ?? 0,
    };
  }

  #assign(plan: Plan): void {
    const holders = planHolders(this.#control.state);
    const ids = new Set(holders.map((node) => node.id));
    for (const [nodeId, epoch] of this.#assigned) {
      if (!ids.has(nodeId)) this.#links.tell(nodeId, { case: "retire", value: { epoch: BigInt(epoch) } });
    }
    this.#assigned = new Map(holders.map((node) => [node.id, plan.epoch]));
    const { threads, cpuVariant, parallel, maxRows, unverified, hooks } = this.#options;
    const model = this.#source.identity;
    const contextTokens = this.#contextTokens;
    const common = { threads, cpuVariant, parallel, maxRows, unverified, hooks, model, contextTokens };
    for (const [stage, node] of holders.entries()) {
      this.#links.tell(node.id, { case: "assign", value: { ...common, ...placeStage(plan, holders, stage) } });
    }
    // Only a hint for the next start: a full disk must not end what runs.
    this.#holdersWritten = this.#holdersWritten
      .then(() => writeStageHolders(this.#options.dataDir, modelKey(this.#source), plan))
      .catch(() => undefined);
  }
}

function modelKey(source: ModelSource): string {
  return Buffer.from(source.identity.sourceSha256).toString("hex");
}

function chooseContext(wanted: number | null, trained: number): number {
  if (wanted === null) return trained === 0 ? DEFAULT_CONTEXT_TOKENS : Math.min(DEFAULT_CONTEXT_TOKENS, trained);
  if (trained !== 0 && wanted > trained) {
    throw new NoodleError(
      "USAGE",
      `a context of ${wanted} tokens was asked for, the model's limit is ${trained} (--context)`,
    );
  }
  return wanted;
}
