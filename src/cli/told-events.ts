import { setTimeout as sleep } from "node:timers/promises";
import type { ClusterObserver, EventRecord, PlanRecord } from "../observe/index.ts";

const POLL_MS = 5;
/** A command keeps what it has just caused; more than that has nobody to read it. */
const MAX_KEPT = 1000;

/** Events and plans of a cluster as they were told, for a command that waits for what it has caused. */
export class ToldEvents implements ClusterObserver {
  readonly #events: EventRecord[] = [];
  #plan: PlanRecord | null = null;

  onEvent(event: EventRecord): void {
    this.#events.push(event);
    if (this.#events.length > MAX_KEPT) this.#events.shift();
  }

  onPlan(plan: PlanRecord): void {
    this.#plan = plan;
  }

  /** The last plan that was made; null before the first. */
  get plan(): PlanRecord | null {
    return this.#plan;
  }

  /** Forgets what was told before. */
  clear(): void {
    this.#events.length = 0;
  }

  /**
   * Waits for the first event that `pick` makes something of.
   *
   * @returns null when none came in time
   */
  async wait<T>(pick: (event: EventRecord) => T | null, limitMs: number, signal: AbortSignal): Promise<T | null> {
    const endMs = performance.now() + limitMs;
    for (;;) {
      for (const event of this.#events) {
        const found = pick(event);
        if (found !== null) return found;
      }
      if (performance.now() > endMs) return null;
      await sleep(POLL_MS, undefined, { signal });
    }
  }
}
