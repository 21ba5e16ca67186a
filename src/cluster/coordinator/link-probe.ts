import type { LinkRecord } from "../../observe/index.ts";
import { monotonicNs } from "./clock.ts";
import { ClockEstimate, type ClockOffset } from "./clock-estimate.ts";
import type { StageClient } from "./stage-client.ts";

/** Round trips at once when a node is new, so that its clock is known before the first step. */
const FIRST_PINGS = 8;
const PING_INTERVAL_MS = 3000;
const PING_TIMEOUT_MS = 1000;

/**
 * Pings the nodes of the pipeline now and then, to know the way to them and their clocks. Never more than one ping per
 * node is under way, on the connection that steps do not use.
 */
export class LinkProbe {
  readonly #onLink: (record: LinkRecord) => void;
  #estimates = new Map<string, ClockEstimate>();
  #timer: NodeJS.Timeout | null = null;
  /** Raised whenever the nodes change: what is under way for the former ones ends. */
  #round = 0;

  constructor(onLink: (record: LinkRecord) => void) {
    this.#onLink = onLink;
  }

  /** From now on these nodes, all of them anew: a node that comes back may have another clock. */
  follow(stages: readonly StageClient[]): void {
    this.stop();
    this.#estimates = new Map(stages.map((stage) => [stage.nodeId, new ClockEstimate()]));
    const round = this.#round;
    if (stages.length === 0) return;
    void Promise.all(stages.map((stage) => this.#meet(stage, round)));
    this.#timer = setInterval(() => {
      for (const stage of stages) void this.#ping(stage, round);
    }, PING_INTERVAL_MS);
    this.#timer.unref();
  }

  stop(): void {
    this.#round += 1;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** What is known of the way to a node; null where nothing is. */
  find(nodeId: string): ClockOffset | null {
    return this.#estimates.get(nodeId)?.best(monotonicNs()) ?? null;
  }

  async #meet(stage: StageClient, round: number): Promise<void> {
    for (let index = 0; index < FIRST_PINGS && round === this.#round; index++) {
      if (!(await this.#ping(stage, round))) return;
    }
  }

  /** @returns false when no answer came: whoever needs the node finds out by other ways what is wrong with it */
  async #ping(stage: StageClient, round: number): Promise<boolean> {
    const sentNs = monotonicNs();
    try {
      const { insideNs, monoNs } = await stage.ping({ timeoutMs: PING_TIMEOUT_MS });
      const receivedNs = monotonicNs();
      const estimate = this.#estimates.get(stage.nodeId);
      if (round !== this.#round || estimate === undefined) return false;
      estimate.add({ sentNs, receivedNs, peerNs: Number(monoNs), insideNs: Number(insideNs) });
      const best = estimate.best(receivedNs);
      this.#onLink({
        from: "coordinator",
        to: stage.nodeId,
        rttNs: Math.max(0, receivedNs - sentNs - Number(insideNs)),
        payloadBytes: 0,
        clockOffsetNs: best?.offsetNs ?? null,
        clockUncertaintyNs: best?.uncertaintyNs ?? null,
      });
      return true;
    } catch {
      return false;
    }
  }
}
