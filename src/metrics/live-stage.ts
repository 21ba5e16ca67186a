import type { Phase, StageStepRecord } from "../observe/index.ts";
import type { LiveStage, Quantiles } from "./live-document.ts";
import { RateWindow } from "./rate-window.ts";
import { SampleRing } from "./sample-ring.ts";

const NS_PER_MS = 1e6;

/** Means of one stage and phase, in milliseconds. */
export interface StageMeans {
  readonly computeMs: number;
  readonly queueMs: number;
  readonly serializeMs: number;
  readonly hopMs: number;
}

class PhaseWindow {
  readonly compute: SampleRing;
  readonly queue: SampleRing;
  readonly serialize: SampleRing;
  readonly hop: SampleRing;

  constructor(limit: number) {
    this.compute = new SampleRing(limit);
    this.queue = new SampleRing(limit);
    this.serialize = new SampleRing(limit);
    this.hop = new SampleRing(limit);
  }
}

/** The last steps of one stage of the plan in force. */
export class LiveStageWindow {
  nodeId = "";
  readonly #busy: RateWindow;
  readonly #phases: Readonly<Record<Phase, PhaseWindow>>;

  constructor(windowSteps: number, windowSeconds: number) {
    this.#busy = new RateWindow(windowSeconds);
    this.#phases = { prefill: new PhaseWindow(windowSteps), decode: new PhaseWindow(windowSteps) };
  }

  add(phase: Phase, record: StageStepRecord, monoNs: number): void {
    const { compute, queue, serialize, hop } = this.#phases[phase];
    this.nodeId = record.nodeId;
    compute.add(record.computeNs / NS_PER_MS);
    queue.add(record.queueNs / NS_PER_MS);
    serialize.add(record.serializeNs / NS_PER_MS);
    if (record.hopNs !== null) hop.add(record.hopNs / NS_PER_MS);
    this.#busy.add(monoNs, record.computeNs / 1e9);
  }

  /** Null without a step of this phase. */
  means(phase: Phase): StageMeans | null {
    const { compute, queue, serialize, hop } = this.#phases[phase];
    if (compute.size === 0) return null;
    return {
      computeMs: compute.mean(),
      queueMs: queue.mean(),
      serializeMs: serialize.mean(),
      hopMs: hop.mean(),
    };
  }

  /** @param stepMs mean time of a step; 0 = unknown */
  describePhase(phase: Phase, stepMs: number): LiveStage["decode"] {
    const means = this.means(phase);
    if (means === null) return null;
    const { compute, queue, serialize, hop } = this.#phases[phase];
    return {
      compute_ms: describe(compute) ?? NOTHING,
      queue_ms: describe(queue) ?? NOTHING,
      serialize_ms: describe(serialize) ?? NOTHING,
      hop_ms: describe(hop),
      share: stepMs === 0 ? 0 : (means.computeMs + means.queueMs + means.serializeMs + means.hopMs) / stepMs,
    };
  }

  busyRatio(nowMonoNs: number): number {
    return Math.min(1, this.#busy.perSecond(nowMonoNs));
  }
}

const NOTHING: Quantiles = { n: 0, p50: 0, p95: 0 };

/** Null without a sample. */
export function describe(ring: SampleRing): Quantiles | null {
  const [p50, p95] = ring.quantiles(0.5, 0.95) ?? [];
  return p50 === undefined || p95 === undefined ? null : { n: ring.size, p50, p95 };
}
