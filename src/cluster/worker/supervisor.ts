import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { collectGarbage, must, NoodleError } from "../../common/index.ts";
import type { WorkerSnapshot } from "../../observe/index.ts";
import { type Assign, type Capabilities, StageState, toErrorInfo } from "../../protocol/index.ts";
import type { StageSizes } from "../stage-files/index.ts";
import { Assignment } from "./assignment.ts";
import { AssignmentBook } from "./assignment-book.ts";
import { readMemory } from "./capabilities.ts";
import { CoordinatorLink, type CoordinatorLinkOptions, type StageReportInit } from "./coordinator-link.ts";
import { HostKeeper } from "./host-keeper.ts";
import { Leave } from "./leave.ts";
import { checkMemory } from "./memory-check.ts";
import type { NodeIdentity } from "./node-identity.ts";
import { Registration } from "./registration.ts";
import type { WorkerOptions } from "./worker-options.ts";
import { THIS_MACHINE, type WorkerPlatform } from "./worker-platform.ts";

/** A stage that kills its process this often while it is loaded is given up. */
const LOAD_ATTEMPTS = 3;
const PROGRESS_MS = 250;
const JOIN_TIMEOUT_MS = 10_000;

/** How a worker is doing. */
export interface WorkerState extends WorkerSnapshot {
  /** Share of the last seconds that the engine computed, from 0 to 1; null before it is known. */
  readonly engineBusyShare: number | null;
}

/**
 * A worker: joins the coordinator, keeps a stage host alive, and brings it the stages that it is given: one, or a second
 * while a plan follows another. One loop does one thing at a time; what arrives meanwhile changes what it finds when it
 * looks again.
 */
export class WorkerSupervisor {
  /** Settles when the worker has ended: with an error where it did not end well. */
  readonly closed: Promise<NoodleError | undefined>;
  readonly #options: WorkerOptions;
  readonly #platform: WorkerPlatform;
  readonly #incarnation = randomBytes(16);
  readonly #closing = new AbortController();
  #settleClosed: (error: NoodleError | undefined) => void = () => undefined;
  #identity: NodeIdentity | undefined;
  #link: CoordinatorLink | undefined;
  #hosts: HostKeeper | undefined;
  readonly #assignments = new AssignmentBook();
  readonly #leave = new Leave();
  #refusal: NoodleError | undefined;
  #kicked = false;
  #wake: (() => void) | undefined;
  #loop: Promise<void> = Promise.resolve();
  #ending: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#platform = options.platform ?? THIS_MACHINE;
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
    return advertise ?? `${listenHost}:${must(this.#hosts, "stage host").listening.port}`;
  }

  /**
   * Starts the host and registers.
   *
   * @throws PEER_UNREACHABLE when the coordinator is not there in time, its refusal, and the host's start errors; then
   * nothing is left running
   */
  async start(): Promise<void> {
    try {
      const { dataDirectory, identityDirectory = dataDirectory, engine } = this.#options;
      mkdirSync(dataDirectory, { recursive: true });
      this.#identity = this.#platform.claimNodeIdentity(identityDirectory);
      await this.#options.member?.open(this.nodeId, (error) => this.#options.onNotice?.(error.message));
      this.#hosts = this.#makeHosts();
      this.#options.member?.onRenewed(() => this.#hosts?.renew());
      await this.#hosts.start(engine.variant);
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

  /** Lets others take what it holds, for as long as `patienceMs`, and then closes. */
  async leave(reason: string, patienceMs: number): Promise<void> {
    if (this.#link !== undefined && this.#ending === undefined) {
      this.#options.onNotice?.(await this.#leave.ask(this.#link, reason, patienceMs));
    }
    await this.close(reason);
  }

  /** Leaves the cluster and ends the host. Closing twice is safe. */
  close(reason: string): Promise<void> {
    return this.#end(reason, undefined);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close("disposed");
  }

  /** How the worker is doing right now. */
  snapshot(): WorkerState {
    const stats = this.#hosts?.stats ?? null;
    return {
      nodeId: this.#identity?.nodeId ?? "",
      registered: this.#link?.registered ?? false,
      supervisorRssBytes: process.memoryUsage.rss(),
      hostRssBytes: stats?.rssBytes ?? 0,
      hostRestarts: this.#hosts?.deaths ?? 0,
      observationsDropped: this.#hosts?.observationsDropped ?? 0,
      sessions: stats?.sessions ?? 0,
      stage: this.#assignments.served?.describe() ?? null,
      totals: stats?.totals ?? null,
      engineBusyShare: this.#hosts?.host?.busyShare ?? null,
    };
  }

  #end(reason: string, error: NoodleError | undefined): Promise<void> {
    this.#ending ??= this.#closeAll(reason, error);
    return this.#ending;
  }

  async #closeAll(reason: string, error: NoodleError | undefined): Promise<void> {
    this.#closing.abort();
    this.#leave.giveUp();
    this.#assignments.abortAll();
    this.#kick();
    await this.#link?.close(reason);
    await this.#hosts?.close();
    await this.#loop;
    this.#options.member?.[Symbol.dispose]();
    this.#identity?.release();
    this.#settleClosed(error);
  }

  #makeHosts(): HostKeeper {
    const { listenHost = "127.0.0.1", listenPort = 0, engine, dataDirectory, member } = this.#options;
    return new HostKeeper({
      nodeId: this.nodeId,
      listenHost,
      listenPort,
      engine,
      dataDirectory,
      createHost: this.#platform.createHost,
      readCredentials: member && (() => member.current),
      signal: this.#closing.signal,
      onObservation: (message) => this.#link?.passOn(message) === true,
      onDeath: (error) => this.#takeDeath(error),
    });
  }

  async #register(): Promise<void> {
    const { join, joinTimeoutMs: timeoutMs = JOIN_TIMEOUT_MS } = this.#options;
    const registration = new Registration({ join, timeoutMs, signal: this.#closing.signal });
    if (!this.#closing.signal.aborted) {
      this.#link = new CoordinatorLink({
        address: join,
        security: this.#options.member?.towardsCoordinator,
        transport: this.#platform.transport,
        makeRegister: () => this.#makeRegister(),
        makeHeartbeat: () => this.#makeHeartbeat(),
        onRegistered: ({ nodeId }) => {
          this.#options.onNotice?.(`registered as ${nodeId} at ${join}, serving on ${this.stageAddress}`);
          registration.succeed();
        },
        onAssign: (assign) => this.#takeAssign(assign),
        onRetire: (epoch) => this.#takeRetire(epoch),
        onRevoked: (nodeIds) => this.#hosts?.revoke(nodeIds),
        onDrained: (moved, why) => this.#leave.answer(moved, why),
        onShutdown: (why) => void this.#end(why, undefined),
        onRefused: (error) => {
          this.#refusal = error;
          registration.refuse(error);
          void this.#end("refused", error);
        },
        onLost: (error, wasRegistered) => {
          this.#leave.giveUp();
          registration.noteFailure(error);
          if (!wasRegistered) return;
          this.#options.onNotice?.(`lost the coordinator: ${error.message}`);
          if (this.#options.exitWithCoordinator === true) void this.#end("the coordinator has gone", error);
        },
        random: Math.random,
      });
    }
    await registration.done;
  }

  async #makeRegister(): ReturnType<CoordinatorLinkOptions["makeRegister"]> {
    const capabilities = await this.#collect();
    const { stageAddress } = this;
    return { capabilities, stageAddress, supervisorPid: process.pid, incarnation: this.#incarnation };
  }

  async #collect(): Promise<Capabilities> {
    const { name = "", noodlecoreVersion, dataDirectory, memoryLimitBytes = 0, threads } = this.#options;
    const hosts = must(this.#hosts, "stage host");
    const { engine } = hosts.listening;
    const own = { nodeId: this.nodeId, name, noodlecoreVersion, engine };
    const capabilities = await this.#platform.collectCapabilities({ ...own, dataDirectory, memoryLimitBytes, threads });
    hosts.setCapabilities(capabilities);
    return capabilities;
  }

  #makeHeartbeat(): ReturnType<CoordinatorLinkOptions["makeHeartbeat"]> {
    const { supervisorRssBytes, hostRssBytes, sessions, observationsDropped } = this.snapshot();
    const stats = this.#hosts?.stats;
    return {
      rssBytes: BigInt(supervisorRssBytes + hostRssBytes),
      epoch: BigInt(stats?.epoch ?? 0),
      sessions,
      observationsDropped: BigInt(observationsDropped),
      engineBusyNs: BigInt(Math.round(stats?.engine.busyNs ?? 0)),
      engineWallNs: BigInt(Math.round(stats?.engine.wallNs ?? 0)),
    };
  }

  #takeAssign(assign: Assign): void {
    this.#assignments.add(new Assignment(assign));
    this.#kick();
  }

  #takeRetire(epoch: number): void {
    this.#hosts?.host?.retire(epoch);
    if (!this.#assignments.remove(epoch)) return;
    if (this.#assignments.size === 0) this.#link?.forgetReport();
    this.#kick();
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
      const assignment = this.#assignments.unsettled;
      const hosts = must(this.#hosts, "stage host");
      try {
        if (hosts.host === undefined) await hosts.restart();
        if (assignment === undefined) continue;
        await this.#bringUp(assignment, hosts);
        this.#kick();
      } catch (thrown) {
        this.#takeFailure(assignment, NoodleError.from(thrown));
      }
    }
  }

  #takeFailure(assignment: Assignment | undefined, error: NoodleError): void {
    if (this.#closing.signal.aborted || (assignment !== undefined && !this.#assignments.has(assignment))) {
      return this.#kick();
    }
    if (assignment === undefined || error.code === "ENGINE_ABORTED") {
      const isHopeless = assignment !== undefined && ++assignment.deathsInLoad >= LOAD_ATTEMPTS;
      if (!isHopeless) return this.#kick();
    }
    assignment.settled = true;
    this.#report(assignment, StageState.FAILED, { error: toErrorInfo(error, this.nodeId) });
    this.#kick();
  }

  async #bringUp(assignment: Assignment, hosts: HostKeeper): Promise<void> {
    const { cpuVariant } = assignment.assign;
    if (assignment.prepared === undefined) await this.#prepare(assignment);
    if (await hosts.useVariant(cpuVariant === "" ? this.#options.engine.variant : cpuVariant)) await this.#collect();
    if (!this.#assignments.has(assignment)) return;
    this.#report(assignment, StageState.LOADING);
    const { host } = hosts;
    if (host === undefined)
      throw new NoodleError("ENGINE_ABORTED", "the engine process died before its stage was loaded");
    const loaded = await host.load(assignment.makeHostAssignment(this.#options.threads));
    if (!this.#assignments.has(assignment)) return host.retire(assignment.epoch);
    assignment.settled = true;
    assignment.loaded = loaded;
    this.#say(assignment.makeReadyReport(loaded, host.pid));
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
        checkSizes: (sizes) => this.#checkMemory(sizes, assignment),
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
    assignment.takePrepared(prepared);
    collectGarbage();
  }

  #checkMemory(sizes: StageSizes, assignment: Assignment): void {
    const { memoryLimitBytes = 0 } = this.#options;
    const { freeBytes } = readMemory();
    const besideBytes = this.#assignments.bytesBeside(assignment);
    if (besideBytes > 0) {
      checkMemory(sizes, memoryLimitBytes === 0 ? 0 : Math.max(1, memoryLimitBytes - besideBytes), freeBytes);
      return;
    }
    // What the host holds now is freed before the new stage is loaded.
    checkMemory(sizes, memoryLimitBytes, freeBytes + (this.#hosts?.stats?.rssBytes ?? 0));
  }

  #takeDeath(error: NoodleError): void {
    this.#options.onNotice?.(error.message);
    for (const assignment of this.#assignments) {
      assignment.loseHost();
      this.#report(assignment, StageState.RESTARTING, { error: toErrorInfo(error, this.nodeId) });
    }
    this.#kick();
  }

  #report(assignment: Assignment, state: StageState, more: StageReportInit = {}): void {
    if (this.#assignments.has(assignment)) this.#say(assignment.makeReport(state, this.#hosts?.host?.pid ?? 0, more));
  }

  #say(report: StageReportInit): void {
    this.#link?.report(report);
    this.#options.onReport?.(report);
  }
}
