import { setTimeout as sleep } from "node:timers/promises";
import { must } from "../../src/common/index.ts";
import type { Served } from "../../test/faults/served.ts";
import { BedWorker } from "../../test/faults/worker.ts";

export type FaultKind = "kill_worker" | "stop_worker" | "kill_engine" | "kill_coordinator";

export interface FaultOptions {
  readonly served: Served;
  /** From 0 to 1, seeded. */
  readonly random: () => number;
  readonly log: (words: string) => void;
  /** Called when the coordinator is another process. */
  readonly onRestart: () => void;
}

/** How often each comes, out of ten: drawn like cards, so that none stays away for long. */
const DECK: readonly FaultKind[] = [
  ...Array<FaultKind>(4).fill("kill_worker"),
  ...Array<FaultKind>(2).fill("stop_worker"),
  ...Array<FaultKind>(2).fill("kill_engine"),
  ...Array<FaultKind>(2).fill("kill_coordinator"),
];
const MEAN_PAUSE_MS = 8000;
const STOP_MS = { least: 1000, most: 6000 };
const RESTART_MS = 3000;

/** Makes faults at random moments, one beside another too, and puts right what a machine's owner would. */
export class FaultDriver {
  readonly counts: Record<FaultKind, number> = { kill_worker: 0, stop_worker: 0, kill_engine: 0, kill_coordinator: 0 };
  readonly #options: FaultOptions;
  readonly #busy = new Set<number>();
  readonly #underWay = new Set<Promise<void>>();
  readonly #deck: FaultKind[] = [];
  #coordinatorIsDown = false;

  constructor(options: FaultOptions) {
    this.#options = options;
  }

  /**
   * @param endMs monotonic; the last faults are put right behind it
   * @param quietMs from here on the coordinator and worker 1 live on, so that their memory is seen over a long time
   */
  async run(endMs: number, quietMs: number, signal: AbortSignal): Promise<void> {
    const { random } = this.#options;
    for (;;) {
      const pauseMs = Math.min(4 * MEAN_PAUSE_MS, 500 - MEAN_PAUSE_MS * Math.log(1 - random()));
      if (performance.now() + pauseMs >= endMs) break;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) break;
      this.#start(performance.now() > quietMs);
    }
    await Promise.all(this.#underWay);
  }

  #start(isQuiet: boolean): void {
    const kind = this.#choose();
    const worker = Math.floor(this.#options.random() * this.#options.served.workers.length);
    const spares = isQuiet && worker === 0 && kind !== "stop_worker";
    if (this.#busy.has(worker) || spares || (kind === "kill_coordinator" && (isQuiet || this.#coordinatorIsDown)))
      return;
    const done = this.#make(kind, worker).finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  #choose(): FaultKind {
    if (this.#deck.length === 0) this.#deck.push(...DECK);
    const [kind] = this.#deck.splice(Math.floor(this.#options.random() * this.#deck.length), 1);
    return must(kind, "card");
  }

  async #make(kind: FaultKind, index: number): Promise<void> {
    const { served, random, log } = this.#options;
    this.counts[kind] += 1;
    if (kind === "kill_coordinator") {
      this.#coordinatorIsDown = true;
      const downMs = 1000 * random();
      log(`coordinator killed, started again ${downMs.toFixed(0)} ms later`);
      await served.killCoordinator();
      await sleep(downMs);
      served.startCoordinator();
      this.#options.onRestart();
      this.#coordinatorIsDown = false;
      return;
    }
    this.#busy.add(index);
    const worker = must(served.workers[index], "worker");
    const { name } = worker.options;
    if (kind === "kill_worker") {
      const downMs = RESTART_MS * random();
      log(`${name} killed, started again ${downMs.toFixed(0)} ms later`);
      await worker.kill();
      await sleep(downMs);
      served.workers[index] = new BedWorker(worker.options);
    } else if (kind === "stop_worker") {
      const stopMs = STOP_MS.least + (STOP_MS.most - STOP_MS.least) * random();
      log(`${name} stopped for ${stopMs.toFixed(0)} ms`);
      worker.signal("SIGSTOP");
      await sleep(stopMs);
      worker.signal("SIGCONT");
    } else {
      const pid = await this.#findEngine(name);
      if (pid === null) this.counts[kind] -= 1;
      else worker.signal("SIGKILL", pid);
      log(pid === null ? `${name} has no engine to kill` : `engine of ${name} killed`);
    }
    this.#busy.delete(index);
  }

  async #findEngine(name: string): Promise<number | null> {
    const response = await this.#options.served.get("/v1/status");
    if (response?.status !== 200) return null;
    const { stages, nodes } = (await response.json()) as SoakStatus;
    const id = nodes.find((node) => node.name === name)?.id;
    return stages.find(({ node }) => node !== null && node === id)?.host_pid ?? null;
  }
}

/** What the soak reads of `/v1/status`. */
export interface SoakStatus {
  readonly nodes: readonly {
    readonly id: string;
    readonly name: string;
    readonly pid: number;
    readonly state: string;
  }[];
  readonly stages: readonly {
    readonly node: string | null;
    readonly state: string;
    readonly host_pid: number | null;
    readonly units: string;
  }[];
  readonly sessions: readonly unknown[];
  readonly plan: { readonly next: unknown; readonly former: unknown } | null;
}
