import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import { NoodleError } from "../../common/index.ts";
import { Coordinator, type CoordinatorOptions, type ReadyProgress } from "../coordinator/index.ts";
import { KeptWorker } from "./kept-worker.ts";
import { WorkerProcess } from "./worker-process.ts";

export interface LocalClusterOptions extends Omit<CoordinatorOptions, "expect" | "dataDir"> {
  readonly workers: number;
  /** Compiled entry of the `noodle` command, for example `dist/cli/main.js`. */
  readonly entry: string;
  /** Keeps epochs, the model's hashes and stage files for the next start. @default a temporary one, removed by `close` */
  readonly dataDir?: string;
  /** gRPC port of the coordinator. @default 0, any free one */
  readonly grpcPort?: number;
  /** Further arguments of the worker at `index`, such as `--memory 2GiB`. */
  readonly workerArgs?: (index: number) => readonly string[];
  /** Starts each worker when the one before it has joined: then they get the stages of a first start in order. @default false */
  readonly inOrder?: boolean;
  /** Environment of the workers. @default that of this process */
  readonly workerEnv?: NodeJS.ProcessEnv;
  readonly onWorkerLine?: (worker: string, line: string) => void;
  /** A worker that ends once the cluster was ready is started again, after a wait that grows. @default true */
  readonly restart?: boolean;
  /** Told why a worker ended, and how long it is before it is started again. */
  readonly onWorkerDeath?: (error: NoodleError, waitMs: number) => void;
  /** @default 300000 */
  readonly readyTimeoutMs?: number;
  /** How long a worker may take to end before it is killed. @default 5000 */
  readonly stopGraceMs?: number;
}

export interface StartControl {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: ReadyProgress) => void;
}

const READY_TIMEOUT_MS = 300_000;
const STOP_GRACE_MS = 5000;
const JOIN_POLL_MS = 20;

/**
 * A whole cluster on this machine: the coordinator in this process and a process for each worker, on free ports. However
 * it ends, no process and no temporary file stays behind; if this process is killed, the workers end by themselves,
 * since their coordinator is gone.
 */
export class LocalCluster {
  readonly coordinator: Coordinator;
  readonly #workers: readonly KeptWorker[];
  readonly #temporaryDir: string | null;
  readonly #stopGraceMs: number;
  #closing: Promise<void> | null = null;

  /**
   * Starts everything and waits until sessions can run.
   *
   * @throws as `Coordinator.start` and `waitReady`; PEER_DEAD with a worker's last words when one ends before
   */
  static async start(options: LocalClusterOptions, control: StartControl): Promise<LocalCluster> {
    const { workers, entry, dataDir, inOrder = false, workerArgs, workerEnv, onWorkerLine, ...others } = options;
    const { readyTimeoutMs, stopGraceMs, restart = true, onWorkerDeath, ...rest } = others;
    const temporaryDir = dataDir === undefined ? await mkdtemp(join(tmpdir(), "noodle-local-")) : null;
    const root = dataDir ?? temporaryDir ?? "";
    let cluster: LocalCluster | null = null;
    try {
      const workerDir = join(root, "workers");
      await mkdir(workerDir, { recursive: true });
      const coordinator = await Coordinator.start({
        grpcPort: 0,
        signal: control.signal,
        ...rest,
        expect: workers,
        dataDir: join(root, "coordinator"),
      });
      const processes: KeptWorker[] = [];
      cluster = new LocalCluster(coordinator, processes, temporaryDir, stopGraceMs ?? STOP_GRACE_MS);
      for (let index = 0; index < workers; index++) {
        const name = `worker-${index + 1}`;
        // One directory for all: what one of them cut, another finds. Each is the same node when it is started again.
        const args = [
          "worker",
          "--join",
          coordinator.address,
          "--exit-with-coordinator",
          "--name",
          name,
          "--data",
          workerDir,
          "--identity",
          join(workerDir, "nodes", name),
        ];
        const make = (): WorkerProcess =>
          new WorkerProcess({
            entry,
            name,
            args: [...args, ...(workerArgs?.(index) ?? [])],
            ...(workerEnv === undefined ? {} : { env: workerEnv }),
            ...(onWorkerLine === undefined ? {} : { onStderrLine: (line) => onWorkerLine(name, line) }),
          });
        processes.push(new KeptWorker(make, (error, waitMs) => onWorkerDeath?.(error, waitMs)));
        if (inOrder) await cluster.#waitJoined(index + 1, control.signal, readyTimeoutMs ?? READY_TIMEOUT_MS);
      }
      await cluster.#waitReady(control, readyTimeoutMs ?? READY_TIMEOUT_MS);
      if (restart) for (const worker of processes) worker.keep();
      return cluster;
    } catch (error) {
      if (cluster !== null) await cluster.close();
      else if (temporaryDir !== null) await rm(temporaryDir, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(
    coordinator: Coordinator,
    workers: readonly KeptWorker[],
    temporaryDir: string | null,
    stopGraceMs: number,
  ) {
    this.#stopGraceMs = stopGraceMs;
    this.coordinator = coordinator;
    this.#workers = workers;
    this.#temporaryDir = temporaryDir;
  }

  /** The processes as they are now; one that died may be another later. */
  get workers(): readonly WorkerProcess[] {
    return this.#workers.map((worker) => worker.process);
  }

  /** Ends the sessions, the workers and the coordinator. Closing twice is safe. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    // They end with their coordinator, which is no death.
    for (const worker of this.#workers) worker.release();
    await this.coordinator.close();
    await Promise.all(this.#workers.map((worker) => worker.stop(this.#stopGraceMs)));
    if (this.#temporaryDir !== null) await rm(this.#temporaryDir, { recursive: true, force: true });
  }

  async #waitJoined(count: number, signal: AbortSignal, timeoutMs: number): Promise<void> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.coordinator.status().nodes.length < count) {
      signal.throwIfAborted();
      const dead = this.workers.find(({ running }) => !running);
      if (dead !== undefined) throw dead.describeExit(await dead.exited);
      if (performance.now() > deadlineMs) throw new NoodleError("CLUSTER_NOT_READY", `worker ${count} has not joined`);
      await sleep(JOIN_POLL_MS);
    }
  }

  /** A worker that ends before the cluster is ready ends the waiting too. */
  async #waitReady({ signal, onProgress }: StartControl, timeoutMs: number): Promise<void> {
    const stop = new AbortController();
    const died = Promise.race(
      this.workers.map(async (worker) => {
        const exit = await worker.exited;
        return worker.describeExit(exit);
      }),
    );
    const ready = this.coordinator.waitReady(AbortSignal.any([signal, stop.signal]), timeoutMs, onProgress);
    const outcome = await Promise.race([ready.then(() => null), died]);
    if (outcome === null) return;
    stop.abort();
    // The coordinator may know the cause better than the dead worker's last words.
    const known = await ready.then(
      () => null,
      (error: unknown) => NoodleError.from(error),
    );
    throw known !== null && known.code !== "INTERRUPTED" ? known : outcome;
  }
}
