import type { Phase, StageStepRecord } from "../observe/index.ts";
import { DriftWindow } from "./drift.ts";
import type { CounterChild, HistogramChild, Instruments } from "./instruments.ts";

interface StagePhaseInstruments {
  readonly compute: HistogramChild | undefined;
  readonly queue: HistogramChild | undefined;
  readonly serialize: HistogramChild | undefined;
}

/** The children of one stage, looked up once: a step costs a few of their calls. */
export class StageInstruments {
  readonly #instruments: Instruments;
  readonly #stage: string;
  readonly #phases: Readonly<Record<Phase, StagePhaseInstruments>>;
  readonly #hop: HistogramChild | undefined;
  readonly #received: CounterChild | undefined;
  readonly #drift: Partial<Record<Phase, DriftWindow>> = {};

  constructor(instruments: Instruments, stage: number) {
    this.#instruments = instruments;
    this.#stage = String(stage);
    this.#phases = { prefill: this.#openPhase("prefill"), decode: this.#openPhase("decode") };
    this.#hop = instruments.histogram("noodle_hop_seconds").child(this.#stage);
    this.#received = instruments.counter("noodle_stage_received_bytes_total").child(this.#stage);
  }

  /** False when there are too many stages: then some of its values are dropped. */
  get complete(): boolean {
    return this.#phases.prefill.compute !== undefined && this.#phases.decode.compute !== undefined;
  }

  addStep(phase: Phase, record: StageStepRecord): void {
    const instruments = this.#phases[phase];
    instruments.compute?.observe(record.computeNs / 1e9);
    instruments.queue?.observe(record.queueNs / 1e9);
    instruments.serialize?.observe(record.serializeNs / 1e9);
    if (record.hopNs !== null) this.#hop?.observe(record.hopNs / 1e9);
    this.#received?.inc(record.bytesIn);
  }

  addComparison(phase: Phase, measuredMs: number, predictedMs: number): void {
    const window = this.#drift[phase] ?? new DriftWindow();
    this.#drift[phase] = window;
    window.add(measuredMs, predictedMs);
  }

  refreshDrift(): void {
    for (const phase of ["prefill", "decode"] as const) {
      const ratio = this.#drift[phase]?.ratio() ?? null;
      if (ratio !== null) this.#instruments.gauge("noodle_drift_ratio").child(this.#stage, phase)?.set(ratio);
    }
  }

  /** Another plan: this stage holds other units, or another node holds them. */
  forgetDrift(): void {
    for (const phase of ["prefill", "decode"] as const) {
      delete this.#drift[phase];
      this.#instruments.gauge("noodle_drift_ratio").remove(this.#stage, phase);
    }
  }

  #openPhase(phase: Phase): StagePhaseInstruments {
    return {
      compute: this.#instruments.histogram("noodle_stage_compute_seconds").child(this.#stage, phase),
      queue: this.#instruments.histogram("noodle_stage_queue_seconds").child(this.#stage, phase),
      serialize: this.#instruments.histogram("noodle_stage_serialize_seconds").child(this.#stage, phase),
    };
  }
}
