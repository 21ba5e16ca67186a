import { setTimeout as sleep } from "node:timers/promises";
import type { NoodleError } from "../../common/index.ts";
import type { WorkerExit, WorkerProcess } from "./worker-process.ts";

const RESTART = { firstMs: 250, capMs: 30_000 };
/** One that lived this long has earned a quick restart. */
const HEALTHY_MS = 30_000;

/** A worker that is started again when its process ends by itself, after a wait that grows. */
export class KeptWorker {
  readonly #make: () => WorkerProcess;
  readonly #onDeath: (error: NoodleError, waitMs: number) => void;
  readonly #stopping = new AbortController();
  #process: WorkerProcess;
  #keeping: Promise<void> | null = null;

  constructor(make: () => WorkerProcess, onDeath: (error: NoodleError, waitMs: number) => void) {
    this.#make = make;
    this.#onDeath = onDeath;
    this.#process = make();
  }

  /** The one that runs, or the last one. */
  get process(): WorkerProcess {
    return this.#process;
  }

  /** Starts it again from now on. */
  keep(): void {
    this.#keeping ??= this.#keep();
  }

  /** Whatever ends it from now on is meant: it is not started again. */
  release(): void {
    this.#stopping.abort();
  }

  /** Ends it for good. */
  async stop(graceMs: number): Promise<void> {
    this.release();
    await this.#process.stop(graceMs);
    await this.#keeping;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stopping;
    for (let deaths = 0; ; deaths++) {
      const startMs = performance.now();
      const exit: WorkerExit = await this.#process.exited;
      if (signal.aborted) return;
      if (performance.now() - startMs > HEALTHY_MS) deaths = 0;
      const waitMs = Math.min(RESTART.capMs, RESTART.firstMs * 2 ** deaths);
      this.#onDeath(this.#process.describeExit(exit), waitMs);
      // What its stage host holds goes first: the next start needs the room.
      await this.#process.stop(0);
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      this.#process = this.#make();
    }
  }
}
