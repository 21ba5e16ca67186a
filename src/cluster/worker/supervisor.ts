import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { collectGarbage, must, NoodleError } from "../../common/index.ts";
import { type Assign, type Capabilities, StageState, toErrorInfo } from "../../protocol/index.ts";
import type { PreparedStage, StageFileSource, StageSizes } from "../stage-files/index.ts";
import { backoffMs, sleep } from "./backoff.ts";
import { collectCapabilities, readMemory } from "./capabilities.ts";
import { CoordinatorLink, type StageReportInit } from "./coordinator-link.ts";
import type { EngineChoice } from "./engine-messages.ts";
import type { HostAssignment, LoadedStage } from "./host-messages.ts";
import { type HostListening, HostProcess } from "./host-process.ts";
import { checkMemory } from "./memory-check.ts";
import { claimNodeIdentity, type NodeIdentity } from "./node-identity.ts";
import type { WorkerSnapshot } from "../../observe/index.ts";

export interface WorkerOptions {
  /** host:port of the coordinator. */
  readonly join: string;
  /** @default "127.0.0.1" */
  readonly listenHost?: string;
  /** 0 = any free port. @default 0 */
  readonly listenPort?: number;
  /** host:port as peers reach this worker. @default listenHost and the port that was bound */
  readonly advertise?: string;
  /** @default the host's name */
  readonly name?: string;
  readonly dataDirectory: string;
  /** `--memory`. @default what is free at the start */
  readonly memoryLimitBytes?: number;
  readonly threads: number;
  readonly engine: EngineChoice;
  readonly noodlecoreVersion: string;
  readonly stageFiles: StageFileSource;
  /** Ends the worker when it loses a coordinator that it was registered with. @default false */
  readonly exitWithCoordinator?: boolean;
  /** Longest time until the first registration. @default 10000 */
  readonly joinTimeoutMs?: number;
  readonly onReport?: (report: StageReportInit) => void;
  /** Something that a person at the terminal may want to know. */
  readonly onNotice?: (text: string) => void;
}

const RESTART = { firstMs: 100, capMs: 5000 };
/** A stage that kills its process this often while it is loaded is given up. */
const LOAD_ATTEMPTS = 3;
/** A host that lived this long has earned a quick restart. */
const HEALTHY_MS = 30_000;
const PROGRESS_MS = 250;

/** What the coordinator wants of this worker, and how far that is. */
interface Assignment {
  readonly assign: Assign;
  readonly abort: AbortController;
  prepared: PreparedStage | undefined;
  /** While the host holds it. */
  loaded: LoadedStage | null;
  /** Bytes over the network, all attempts together. */
  receivedBytes: number;
  settled: boolean;
  deathsInLoad: number;
}

/**
 * A worker: joins the coordinator, keeps a stage host alive, and brings it the stage that it is given. One loop does
 * one thing at a time; what arrives meanwhile changes what it finds when it looks again.
 */
export class WorkerSupervisor {
  /** Settles when the worker has ended: with an error where it did not end well. */
  readonly closed: Promise<NoodleError | undefined>;
  readonly #options: WorkerOptions;
  readonly #incarnation = randomBytes(16);
  readonly #closing = new AbortController();
  #settleClosed: (error: NoodleError | undefined) => void = () => undefined;
  #identity: NodeIdentity | undefined;
  #link: CoordinatorLink | undefined;
  #host: HostProcess | undefined;
  #hostStartedMs = 0;
  #hostVariant: string | undefined;
  #listening: HostListening | undefined;
  #capabilities: Capabilities | undefined;
  #assignment: Assignment | undefined;
  #refusal: NoodleError | undefined;
  #restarts = 0;
  /** By this process, and by hosts that have ended. */
  #observationsDropped = 0;
  #hostDeaths = 0;
  #kicked = false;
  #wake: (() => void) | undefined;
  #loop: Promise<void> = Promise.resolve();
  #ending: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.closed = new Promise((resolve) => {
      this.#settleClosed = resolve;
    });
  }

  get nodeId(): string {
    return must(this.#identity, "node identity").nodeId;
  }

  /** host:port of the StageService, as peers reach it; the same for as long as the supervisor lives. */
  get stageAddress(): string {
    const { advertise, listenHost = "127.0.0.1" } = this.#options;
    return advertise ?? `${listenHost}:${must(this.#listening, "listening host").port}`;
  }

  /**
   * Starts the host and registers.
   *
   * @throws PEER_UNREACHABLE when the coordinator is not there in time, its refusal, and the host's start errors; then
   * nothing is left running
   */
  async start(): Promise<void> {
    try {
      const { dataDirectory, engine } = this.#options;
      mkdirSync(dataDirectory, { recursive: true });
      this.#identity = claimNodeIdentity(dataDirectory);
      await this.#startHost(engine.variant);
      await this.#register();
    } catch (error) {
      const wasStopped = this.#closing.signal.aborted && this.#refusal === undefined;
      await this.close("the start failed");
      throw wasStopped
        ? new NoodleError("INTERRUPTED", "the worker was stopped while it started", { cause: error })
        : error;
    }
    this.#loop = this.#reconcile();
  }

  /** Leaves the cluster and ends the host. Closing twice is safe. */
  close(reason: string): Promise<void> {
    return this.#end(reason, undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close("disposed");
  }

  #end(reason: string, error: NoodleError | undefined): Promise<void> {
    this.#ending ??= this.#closeAll(reason, error);
    return this.#ending;
  }

  async #closeAll(reason: string, error: NoodleError | undefined): Promise<void> {
    this.#closing.abort();
    this.#assignment?.abort.abort();
    this.#kick();
    await this.#link?.close(reason);
    await this.#host?.close();
    await this.#loop;
    this.#identity?.release();
    this.#settleClosed(error);
  }

  async #register(): Promise<void> {
    const { join, joinTimeoutMs = 10_000 } = this.#options;
    let lastError: NoodleError | undefined;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        const why = lastError === undefined ? "" : `: ${lastError.message}`;
        reject(
          new NoodleError("PEER_UNREACHABLE", `no coordinator at ${join} within ${joinTimeoutMs} ms (--join)${why}`),
        );
      }, joinTimeoutMs);
      const stop = (): void => {
        clearTimeout(timer);
        reject(new NoodleError("INTERRUPTED", "stopped before the registration"));
      };
      this.#closing.signal.addEventListener("abort", stop, { once: true });
      if (this.#closing.signal.aborted) return stop();
      this.#link = new CoordinatorLink({
        address: join,
        makeRegister: () => this.#makeRegister(),
        makeHeartbeat: () => this.#makeHeartbeat(),
        onRegistered: ({ nodeId }) => {
          clearTimeout(timer);
          this.#options.onNotice?.(`registered as ${nodeId} at ${join}, serving on ${this.stageAddress}`);
          resolve();
        },
        onAssign: (assign) => this.#takeAssign(assign),
        onRetire: (epoch) => this.#takeRetire(epoch),
        onShutdown: (why) => void this.#end(why, undefined),
        onRefused: (error) => {
          clearTimeout(timer);
          this.#refusal = error;
          reject(error);
          void this.#end("refused", error);
        },
        onLost: (error, wasRegistered) => {
          lastError = error;
          if (!wasRegistered) return;
          this.#options.onNotice?.(`lost the coordinator: ${error.message}`);
          if (this.#options.exitWithCoordinator === true) void this.#end("the coordinator has gone", error);
        },
        random: Math.random,
      });
    });
  }

  async #makeRegister(): Promise<{
    capabilities: Capabilities;
    stageAddress: string;
    supervisorPid: number;
    incarnation: Uint8Array;
  }> {
    const capabilities = await this.#collect();
    const { stageAddress } = this;
    return { capabilities, stageAddress, supervisorPid: process.pid, incarnation: this.#incarnation };
  }

  async #collect(): Promise<Capabilities> {
    const { name = "", noodlecoreVersion, dataDirectory, memoryLimitBytes = 0, threads } = this.#options;
    const { engine } = must(this.#listening, "listening host");
    this.#capabilities = await collectCapabilities({
      nodeId: this.nodeId,
      name,
      noodlecoreVersion,
      engine,
      dataDirectory,
      memoryLimitBytes,
      threads,
    });
    this.#host?.setCapabilities(this.#capabilities);
    return this.#capabilities;
  }

  #makeHeartbeat(): { rssBytes: bigint; epoch: bigint; sessions: number; observationsDropped: bigint } {
    const { supervisorRssBytes, hostRssBytes, sessions, observationsDropped } = this.snapshot();
    return {
      rssBytes: BigInt(supervisorRssBytes + hostRssBytes),
      epoch: BigInt(this.#host?.stats?.epoch ?? 0),
      sessions,
      observationsDropped: BigInt(observationsDropped),
    };
  }

  /** How the worker is doing right now. */
  snapshot(): WorkerSnapshot {
    const stats = this.#host?.stats ?? null;
    const assignment = this.#assignment;
    const loaded = assignment?.loaded ?? null;
    return {
      nodeId: this.#identity?.nodeId ?? "",
      registered: this.#link?.registered ?? false,
      supervisorRssBytes: process.memoryUsage.rss(),
      hostRssBytes: stats?.rssBytes ?? 0,
      hostRestarts: this.#hostDeaths,
      observationsDropped: this.#observationsDropped + (stats?.observationsDropped ?? 0),
      sessions: stats?.sessions ?? 0,
      stage:
        assignment === undefined
          ? null
          : {
              epoch: Number(assignment.assign.epoch),
              stage: assignment.assign.stage,
              units: `${assignment.assign.firstUnit}:${assignment.assign.endUnit}`,
              ready: loaded !== null,
              weightsBytes: loaded?.info.weightsBytes ?? 0,
              kvBytes: loaded?.info.kvBytes ?? 0,
              computeBytes: loaded?.info.computeBufferBytes ?? 0,
            },
      totals: stats?.totals ?? null,
    };
  }

  #takeAssign(assign: Assign): void {
    const before = this.#assignment;
    before?.abort.abort();
    this.#assignment = {
      assign,
      abort: new AbortController(),
      prepared: undefined,
      loaded: null,
      receivedBytes: 0,
      settled: false,
      deathsInLoad: 0,
    };
    this.#kick();
  }

  #takeRetire(epoch: number): void {
    this.#host?.retire(epoch);
    if (this.#assignment === undefined || Number(this.#assignment.assign.epoch) !== epoch) return;
    this.#assignment.abort.abort();
    this.#assignment = undefined;
    this.#link?.forgetReport();
  }

  #kick(): void {
    this.#kicked = true;
    this.#wake?.();
  }

  async #reconcile(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      if (!this.#kicked) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      this.#kicked = false;
      if (this.#closing.signal.aborted) return;
      const assignment = this.#assignment;
      try {
        if (this.#host === undefined) await this.#restartHost();
        if (assignment !== undefined && !assignment.settled) await this.#bringUp(assignment);
      } catch (thrown) {
        this.#takeFailure(assignment, NoodleError.from(thrown));
      }
    }
  }

  #takeFailure(assignment: Assignment | undefined, error: NoodleError): void {
    if (this.#closing.signal.aborted || assignment !== this.#assignment) return this.#kick();
    if (assignment === undefined || error.code === "ENGINE_ABORTED") {
      const isHopeless = assignment !== undefined && ++assignment.deathsInLoad >= LOAD_ATTEMPTS;
      if (!isHopeless) return this.#kick();
    }
    assignment.settled = true;
    this.#report(assignment, StageState.FAILED, { error: toErrorInfo(error, this.nodeId) });
  }

  async #bringUp(assignment: Assignment): Promise<void> {
    const { assign } = assignment;
    if (assignment.prepared === undefined) await this.#prepare(assignment);
    const wantedVariant = assign.cpuVariant === "" ? this.#options.engine.variant : assign.cpuVariant;
    if (wantedVariant !== this.#hostVariant && wantedVariant !== this.#listening?.engine.variant) {
      const former = this.#host;
      this.#host = undefined;
      await former?.close();
      await this.#startHost(wantedVariant);
      await this.#collect();
    }
    this.#report(assignment, StageState.LOADING);
    const host = must(this.#host, "stage host");
    const loaded = await host.load(
      makeHostAssignment(assign, must(assignment.prepared, "stage file").path, this.#options.threads),
    );
    if (assignment !== this.#assignment) return;
    assignment.settled = true;
    assignment.loaded = loaded;
    this.#reportReady(assignment, loaded);
  }

  async #prepare(assignment: Assignment): Promise<void> {
    const { assign, abort } = assignment;
    let saidMs = 0;
    this.#report(assignment, StageState.FETCHING);
    const prepared = await this.#options.stageFiles.prepare(
      {
        model: must(assign.model, "model of an assignment"),
        units: { first: assign.firstUnit, end: assign.endUnit },
        unverified: assign.unverified,
        contextTokens: assign.contextTokens,
        parallel: assign.parallel,
      },
      {
        checkSizes: (sizes) => this.#checkMemory(sizes),
        onProgress: ({ bytesDone, bytesTotal }) => {
          const nowMs = performance.now();
          if (nowMs - saidMs < PROGRESS_MS) return;
          saidMs = nowMs;
          const progress = { bytesDone: BigInt(bytesDone), bytesTotal: BigInt(bytesTotal) };
          this.#report(assignment, StageState.FETCHING, progress);
        },
        signal: abort.signal,
      },
    );
    assignment.prepared = prepared;
    assignment.receivedBytes += prepared.receivedBytes;
    collectGarbage();
  }

  #checkMemory(sizes: StageSizes): void {
    const { memoryLimitBytes = 0 } = this.#options;
    // What the host holds now is freed before the new stage is loaded.
    const freeBytes = readMemory().freeBytes + (this.#host?.stats?.rssBytes ?? 0);
    checkMemory(sizes, memoryLimitBytes, freeBytes);
  }

  async #startHost(variant: string | undefined): Promise<void> {
    const { listenHost = "127.0.0.1", listenPort = 0, engine, dataDirectory } = this.#options;
    const host = new HostProcess((message) => {
      if (this.#link?.passOn(message) !== true) this.#observationsDropped += 1;
    });
    this.#host = host;
    this.#hostStartedMs = performance.now();
    const { kind, directory } = engine;
    const choice = {
      kind,
      cacheDirectory: join(dataDirectory, "engine"),
      ...(directory === undefined ? {} : { directory }),
      ...(variant === undefined ? {} : { variant }),
    };
    const start = { nodeId: this.nodeId, listenHost, listenPort: this.#listening?.port ?? listenPort, engine: choice };
    try {
      this.#listening = await host.start(start);
    } catch (error) {
      this.#host = undefined;
      await host.close();
      throw error;
    }
    this.#hostVariant = variant;
    if (this.#capabilities !== undefined) host.setCapabilities(this.#capabilities);
    void host.exited.then((error) => {
      if (error !== undefined && this.#host === host) this.#takeDeath(error);
    });
  }

  async #restartHost(): Promise<void> {
    await sleep(backoffMs(this.#restarts++, RESTART, Math.random()), this.#closing.signal);
    if (this.#closing.signal.aborted) return;
    await this.#startHost(this.#hostVariant);
  }

  #takeDeath(error: NoodleError): void {
    this.#observationsDropped += this.#host?.stats?.observationsDropped ?? 0;
    this.#hostDeaths += 1;
    this.#host = undefined;
    if (this.#closing.signal.aborted) return;
    if (performance.now() - this.#hostStartedMs > HEALTHY_MS) this.#restarts = 0;
    this.#options.onNotice?.(error.message);
    const assignment = this.#assignment;
    if (assignment !== undefined) {
      assignment.settled = false;
      // Its file is verified again before it is loaded again.
      assignment.prepared = undefined;
      assignment.loaded = null;
      this.#report(assignment, StageState.RESTARTING, { error: toErrorInfo(error, this.nodeId) });
    }
    this.#kick();
  }

  #reportReady(assignment: Assignment, { info, canarySha256, rowClassesJson }: LoadedStage): void {
    this.#report(assignment, StageState.READY, {
      weightsBytes: BigInt(info.weightsBytes),
      kvBytes: BigInt(info.kvBytes),
      computeBytes: BigInt(info.computeBufferBytes),
      canarySha256,
      rowClassesJson,
    });
  }

  #report(assignment: Assignment, state: StageState, more: StageReportInit = {}): void {
    if (assignment !== this.#assignment) return;
    const report: StageReportInit = {
      epoch: assignment.assign.epoch,
      state,
      weightsBytes: BigInt(assignment.prepared?.weightsBytes ?? 0),
      weightsBytesReceived: BigInt(assignment.receivedBytes),
      hostPid: this.#host?.pid ?? 0,
      ...more,
    };
    this.#link?.report(report);
    this.#options.onReport?.(report);
  }
}

/** @param ownThreads the worker's choice, where the plan leaves it the choice (0) */
function makeHostAssignment(assign: Assign, stageFile: string, ownThreads: number): HostAssignment {
  const { stage, contextTokens, parallel, maxRows, nextAddress, nextNodeId, hooks } = assign;
  const epoch = Number(assign.epoch);
  const threads = assign.threads === 0 ? ownThreads : assign.threads;
  return { epoch, stage, stageFile, threads, contextTokens, parallel, maxRows, nextAddress, nextNodeId, hooks };
}
