import { availableParallelism } from "node:os";
import { type BusyReading, BusyWindow } from "../../common/index.ts";
import { monotonicNs } from "./clock.ts";

/** How far the shares look back. */
const SPAN_MS = 5000;

/** Nodes that are remembered; beyond it the one that was heard of first is forgotten. */
const MAX_NODES = 1024;

/** The CPU time of this process as a part of what the whole machine has. */
function readCpu(): BusyReading {
  const { user, system } = process.cpuUsage();
  return { busyNs: ((user + system) * 1000) / availableParallelism(), wallNs: monotonicNs() };
}

/** How busy the engines of the nodes are, and this process itself, over the last seconds. */
export class BusyShares {
  readonly #engines = new Map<string, BusyWindow>();
  readonly #process = new BusyWindow(SPAN_MS);

  constructor() {
    this.#process.push(readCpu());
  }

  /** A node's heartbeat. @param reading of its engine thread; nothing has passed where it has none */
  hear(nodeId: string, reading: BusyReading): void {
    this.#process.push(readCpu());
    if (reading.wallNs === 0) {
      this.#engines.delete(nodeId);
      return;
    }
    let engine = this.#engines.get(nodeId);
    if (engine === undefined) {
      const [oldest] = this.#engines.keys();
      if (this.#engines.size >= MAX_NODES && oldest !== undefined) this.#engines.delete(oldest);
      engine = new BusyWindow(SPAN_MS);
      this.#engines.set(nodeId, engine);
    }
    engine.push(reading);
  }

  /** Part of the time in which a node's engine thread computed, 0 to 1; null while unknown. */
  engineOf(nodeId: string): number | null {
    return this.#engines.get(nodeId)?.share ?? null;
  }

  /** Part of this machine's CPU time that this process took, 0 to 1; null in the first moments. */
  get coordinator(): number | null {
    this.#process.push(readCpu());
    return this.#process.share;
  }
}
