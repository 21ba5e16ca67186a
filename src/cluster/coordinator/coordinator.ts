import { collectGarbage, NoodleError } from "../../common/index.ts";
import { createServer, type NoodleServer } from "../../net/index.ts";
import { readHookLevel } from "../../observe/index.ts";
import { PROTOCOL_VERSION } from "../../protocol/index.ts";
import { judgeHealth, planHolders } from "../state/index.ts";
import { Assigner, hashOf } from "./assigner.ts";
import { Connector } from "./connector.ts";
import { Control } from "./control.ts";
import { toError } from "./convert.ts";
import { describeProgress, describeStages, type ReadyProgress } from "./describe.ts";
import { firstPlanEpoch, takeCoordinatorEpoch } from "./epoch-store.ts";
import type { GenerateEvent } from "./generate-event.ts";
import { checkRequest, type GenerateRequest, readPrompt } from "./generate-request.ts";
import { readStageHolders, type StageHolders } from "./holder-store.ts";
import { LinkProbe } from "./link-probe.ts";
import type { ModelSource } from "./model-source.ts";
import { openModelSource } from "./open-model.ts";
import {
  type CompiledCoordinatorOptions,
  compileCoordinatorOptions,
  type CoordinatorOptions,
  DEFAULT_CONTEXT_TOKENS,
} from "./options.ts";
import { Recorder } from "./recorder.ts";
import { readRowClasses } from "./row-classes.ts";
import { bindCoordinator, bindTransfer } from "./services.ts";
import { type PipelineFacts, Serving } from "./serving.ts";
import { describeStatus, type StatusDocument, type StatusFacts } from "./status.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import { TransferHandler } from "./transfer.ts";
import { WorkerLinks } from "./workers.ts";

const PROGRESS_INTERVAL_MS = 500;
/** How long sessions get to tell the stages that they are over. */
const CLOSE_GRACE_MS = 2000;

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
  readonly #serving: Serving;
  readonly #connector: Connector;
  readonly #server: NoodleServer;
  readonly #startedMs: number;
  /** Null where nobody observes. */
  readonly #recorder: Recorder | null;
  readonly #probe: LinkProbe;
  readonly #assigner: Assigner;
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
      const formerHolders = await readStageHolders(compiled.dataDir, hashOf(source));
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
    const model = { sourceSha256: hashOf(source), units: source.unitCount };
    this.#recorder =
      observer === null ? null : new Recorder({ observer, sampling, withPrompts: observePrompts, model });
    this.#probe = new LinkProbe((record) => this.#recorder?.link(record));
    this.#serving = this.#createServing();
    this.#connector = new Connector({
      clock,
      stepTimeoutMs: options.stepTimeoutMs,
      onRoom: () => this.#serving.runner.pump(),
      onResult: (result) => this.#serving.runner.receive(result),
      recordSteps: (state, epoch) => this.#recorder?.startSteps(state, epoch) ?? null,
      onStepFailed: (step, fault) => {
        this.#recorder?.noteStepFailed(step.sessionIds, fault);
        this.#serving.runner.failStep(step, fault);
      },
      onPipeline: (pipeline) => {
        this.#recorder?.noteServing(pipeline?.epoch ?? null);
        this.#probe.follow(pipeline?.stages ?? []);
        this.#serving.setPipeline(pipeline, pipeline === null ? null : this.#describePipeline());
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
        assign: (plan) => this.#assigner.assign(plan, planHolders(this.#control.state)),
        expire: (nodeId, incarnation, fault) => this.#links.drop(nodeId, incarnation, toError(fault)),
        endSession: (sessionId, fault) => this.#serving.runner.fail(sessionId, toError(fault)),
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
    this.#assigner = new Assigner({
      options,
      source,
      contextTokens: this.#contextTokens,
      tell: (nodeId, message) => this.#links.tell(nodeId, message),
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
      while (this.#serving.runner.pipeline === null) {
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
   * Generates text. Where no slot is free it waits in the queue; the slot is free again when the iteration has ended,
   * however it ends. Nothing happens before the first event is read.
   *
   * @throws CLUSTER_NOT_READY, QUEUE_FULL, PROMPT_EMPTY, CONTEXT_EXCEEDED, USAGE; DEADLINE_EXCEEDED; INTERRUPTED when
   * `signal` is aborted; TIMED_OUT for a reader that stands still; PEER_DEAD, PEER_STALLED, ENGINE_ABORTED and others
   * naming the node in `details.nodeId`
   */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    const promptTokenIds = this.#check(request);
    yield* this.#serving.generate(request, promptTokenIds, signal);
  }

  status(): StatusDocument {
    const { clock, parallel } = this.#options;
    return describeStatus(this.#control.state, this.#serving.runner.sessions, {
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
      pipelineOpen: this.#serving.runner.pipeline !== null,
      findLink: (nodeId) => this.#probe.find(nodeId),
      live: this.#options.readLive?.() ?? null,
      serving: this.#serving.describe(),
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
    this.#serving.failAll(new NoodleError("INTERRUPTED", "the coordinator is closing"));
    while (this.#control.state.sessions.size > 0 && clock.nowMs() < deadlineMs) {
      await this.#control.nextChange(deadlineMs - clock.nowMs());
    }
    this.#stop();
    await this.#server.close();
    await this.#source.close();
    await this.#assigner.written;
  }

  #stop(): void {
    this.#probe.stop();
    this.#serving.stop();
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

  /** A request that is refused has no session and so no records: an event says so. */
  #check(request: GenerateRequest): readonly number[] {
    try {
      checkRequest(request, this.#options.maxRows);
      if (request.observe !== undefined) this.#requireHooks(request.observe);
      return readPrompt(request.prompt, this.#tokenizer, this.#contextTokens);
    } catch (error) {
      this.#recorder?.noteRefused(NoodleError.from(error));
      throw error;
    }
  }

  #createServing(): Serving {
    const { clock, parallel, maxRows, determinism, queue, prefixCacheBytes, readerStallMs } = this.#options;
    const { decodeInFlight, prefillRows, mixedPrefillRows } = this.#options;
    return new Serving({
      clock,
      tokenizer: this.#tokenizer,
      contextTokens: this.#contextTokens,
      slots: parallel,
      maxRows,
      determinism,
      queue,
      prefixCacheBytes,
      readerStallMs,
      wanted: { decodeInFlight, prefillRows, mixedPrefillRows },
      recorder: this.#recorder,
      cluster: {
        refusal: () => this.#findRefusal(),
        opened: ({ id, slot, epoch }) =>
          this.#control.dispatch({ type: "sessionOpened", session: { id, slot, epoch } }),
        closed: ({ id }) => this.#control.dispatch({ type: "sessionClosed", sessionId: id }),
        describeStages: (session) => describeStages(this.#control.state, session),
      },
    });
  }

  /** Why nothing can be served now; null when it can. */
  #findRefusal(): NoodleError | null {
    const { state } = this.#control;
    const isReady = this.#serving.runner.pipeline !== null && this.#closing === null;
    if (isReady && judgeHealth(state).status === "ready") return null;
    return new NoodleError("CLUSTER_NOT_READY", `the cluster is not ready: ${describeProgress(state).reason}`);
  }

  #describePipeline(): PipelineFacts {
    const stages = planHolders(this.#control.state).flatMap(({ stage }) => (stage === null ? [] : [stage]));
    const classes = stages.map(({ rowClassesJson }) => readRowClasses(rowClassesJson));
    const kvBytes = stages.reduce((sum, stage) => sum + stage.kvBytes, 0);
    return {
      classes: classes.filter((known) => known !== null),
      kvBytesPerToken: kvBytes / (this.#contextTokens * this.#options.parallel),
    };
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
