import type {
  ClusterObserver,
  EventRecord,
  LayerRecord,
  LinkRecord,
  NodeRecord,
  Phase,
  PlanRecord,
  RequestRecord,
  StageStepRecord,
  StepRecord,
} from "../observe/index.ts";
import type { BuildInfo } from "./build-info.ts";
import type { PredictStageMs } from "./drift.ts";
import { type CounterChild, type HistogramChild, Instruments } from "./instruments.ts";
import { ProcessMetrics } from "./process-metrics.ts";
import { countRequest } from "./count-request.ts";
import { RequestTable } from "./request-table.ts";
import { StageInstruments } from "./stage-instruments.ts";

/** What gauges need of the cluster's state at the time of a scrape; `noodle.status.v1` has this shape. */
export interface ClusterFigures {
  readonly coordinator: {
    readonly context_tokens: number;
    readonly parallel: number;
    readonly cpu_ratio: number | null;
  };
  readonly stages: readonly { readonly index: number; readonly engine_busy_ratio: number | null }[];
  readonly sessions: readonly { readonly prompt_tokens: number; readonly generated_tokens: number }[];
  readonly serving: { readonly prefix_cache: PrefixFigures };
}

/** Counts of one pipeline: they begin anew with the next. */
interface PrefixFigures {
  readonly hits: number;
  readonly misses: number;
  readonly reused_tokens: number;
}

export interface CoordinatorMetricsOptions {
  readonly build: BuildInfo;
  readonly model: string;
  /** A profile's cost model. @default none, then there is no drift */
  readonly predict?: PredictStageMs;
  /** Rows that the logs lost so far. */
  readonly readLogRowsDropped?: () => number;
  /** Spans that the exporter lost so far. */
  readonly readSpansDropped?: () => number;
}

interface PhaseInstruments {
  readonly steps: CounterChild | undefined;
  readonly rows: HistogramChild | undefined;
  readonly seconds: HistogramChild | undefined;
}

/** Predicting reads a table; that one step in eight is compared says as much. */
const COMPARE_EVERY = 8;

/** The coordinator's `/metrics`, counted from the records of the running cluster. */
export class CoordinatorMetrics implements ClusterObserver {
  readonly #instruments = new Instruments("coordinator");
  readonly #options: CoordinatorMetricsOptions;
  readonly #process: ProcessMetrics;
  readonly #requests = new RequestTable();
  readonly #stages = new Map<number, StageInstruments>();
  readonly #layers = { prefill: new Map<string, HistogramChild>(), decode: new Map<string, HistogramChild>() };
  readonly #phases: Readonly<Record<Phase, PhaseInstruments>>;
  readonly #promptTokens: CounterChild | undefined;
  readonly #generatedTokens: CounterChild | undefined;
  #readFigures: () => ClusterFigures | null = () => null;
  #units: readonly string[] = [];
  #logRowsDropped = 0;
  #spansDropped = 0;
  #stepCount = 0;
  #prefixes: PrefixFigures = { hits: 0, misses: 0, reused_tokens: 0 };

  constructor(options: CoordinatorMetricsOptions) {
    this.#options = options;
    const { noodlecoreVersion, engineBuild } = options.build;
    const instruments = this.#instruments;
    instruments.gauge("noodle_build_info").child(noodlecoreVersion, engineBuild, "coordinator")?.set(1);
    instruments.gauge("noodle_model_info").child(options.model)?.set(1);
    this.#process = new ProcessMetrics(instruments);
    this.#phases = { prefill: this.#openPhase("prefill"), decode: this.#openPhase("decode") };
    this.#promptTokens = instruments.counter("noodle_prompt_tokens_total").child();
    this.#generatedTokens = instruments.counter("noodle_generation_tokens_total").child();
  }

  /** From now on the gauges of sessions and KV are those of a cluster. */
  show(readFigures: () => ClusterFigures): void {
    this.#readFigures = readFigures;
  }

  get contentType(): string {
    return this.#instruments.contentType;
  }

  /** All metrics in Prometheus' text format. */
  render(): Promise<string> {
    this.#refresh();
    return this.#instruments.render();
  }

  onStep(record: StepRecord): void {
    const { phase, rows } = record;
    const instruments = this.#phases[phase];
    instruments.steps?.inc();
    instruments.rows?.observe(rows);
    instruments.seconds?.observe((record.receivedMonoNs - record.sentMonoNs) / 1e9);
    for (const id of record.requestIds) this.#requests.run(id);
    if (phase === "prefill") this.#promptTokens?.inc(rows);
    for (const id of record.sampledRequestIds) if (this.#requests.has(id)) this.#generatedTokens?.inc();
    const compare = this.#options.predict !== undefined && this.#stepCount++ % COMPARE_EVERY === 0;
    for (const stage of record.stages) {
      this.#stage(stage.stage).addStep(phase, stage);
      if (compare) this.#compare(record, stage);
    }
  }

  onLayer(record: LayerRecord): void {
    for (const { role, durationNs } of record.segments) this.#layer(role, record.phase)?.observe(durationNs / 1e9);
    this.#instruments
      .histogram("noodle_hook_seconds")
      .child(String(record.stage))
      ?.observe(record.hookNs / 1e9);
  }

  onRequest(record: RequestRecord): void {
    if (record.type === "start") this.#requests.start(record);
    else {
      this.#requests.end(record.requestId);
      countRequest(this.#instruments, record);
    }
  }

  onNode(record: NodeRecord): void {
    const { nodeId, name } = record;
    const gauge = this.#instruments.gauge.bind(this.#instruments);
    if (record.state === "lost") {
      gauge("noodle_node_up").remove(nodeId, name);
      gauge("noodle_process_resident_memory_bytes").remove(nodeId, "worker");
      gauge("noodle_node_weights_bytes").remove(nodeId);
      gauge("noodle_node_kv_bytes").remove(nodeId);
      gauge("noodle_node_compute_buffer_bytes").remove(nodeId);
      gauge("noodle_node_sessions").remove(nodeId);
      return;
    }
    gauge("noodle_node_up").child(nodeId, name)?.set(1);
    gauge("noodle_process_resident_memory_bytes").child(nodeId, "worker")?.set(record.rssBytes);
    gauge("noodle_node_weights_bytes").child(nodeId)?.set(record.weightsBytes);
    gauge("noodle_node_kv_bytes").child(nodeId)?.set(record.kvBytes);
    gauge("noodle_node_compute_buffer_bytes").child(nodeId)?.set(record.computeBytes);
    gauge("noodle_node_sessions").child(nodeId)?.set(record.sessions);
  }

  onPlan(record: PlanRecord): void {
    this.#instruments.gauge("noodle_plan_epoch").child()?.set(record.epoch);
    const info = this.#instruments.gauge("noodle_stage_info");
    info.clear();
    this.#units = record.stages.map((stage) => stage.units);
    for (const { stage, nodeId, units } of record.stages) info.child(String(stage), nodeId ?? "", units)?.set(1);
    for (const stage of this.#stages.values()) stage.forgetDrift();
  }

  onLink(record: LinkRecord): void {
    const { from, to, rttNs, clockOffsetNs, clockUncertaintyNs } = record;
    const gauge = this.#instruments.gauge.bind(this.#instruments);
    gauge("noodle_link_round_trip_seconds")
      .child(from, to)
      ?.set(rttNs / 1e9);
    if (clockOffsetNs !== null)
      gauge("noodle_link_clock_offset_seconds")
        .child(from, to)
        ?.set(clockOffsetNs / 1e9);
    if (clockUncertaintyNs !== null) {
      gauge("noodle_link_clock_uncertainty_seconds")
        .child(from, to)
        ?.set(clockUncertaintyNs / 1e9);
    }
  }

  onEvent(record: EventRecord): void {
    this.#instruments.counter("noodle_events_total").child(record.name, record.severity)?.inc();
  }

  #openPhase(phase: Phase): PhaseInstruments {
    return {
      steps: this.#instruments.counter("noodle_steps_total").child(phase),
      rows: this.#instruments.histogram("noodle_step_rows").child(phase),
      seconds: this.#instruments.histogram("noodle_step_seconds").child(phase),
    };
  }

  #stage(stage: number): StageInstruments {
    const known = this.#stages.get(stage);
    if (known !== undefined) return known;
    const added = new StageInstruments(this.#instruments, stage);
    if (added.complete) this.#stages.set(stage, added);
    return added;
  }

  #layer(role: string, phase: Phase): HistogramChild | undefined {
    const known = this.#layers[phase].get(role);
    if (known !== undefined) return known;
    const added = this.#instruments.histogram("noodle_layer_seconds").child(role, phase);
    if (added !== undefined) this.#layers[phase].set(role, added);
    return added;
  }

  #compare(record: StepRecord, stage: StageStepRecord): void {
    const units = this.#units[stage.stage];
    if (units === undefined || stage.computeNs === 0) return;
    const { phase, rows, contextTokens } = record;
    // The record's context has the step's own rows in it: one for each sequence that decodes.
    const context = Math.max(0, contextTokens - (phase === "decode" ? 1 : rows));
    const predictedMs = this.#options.predict?.(units, phase, rows, context) ?? null;
    if (predictedMs !== null && predictedMs > 0) {
      this.#stage(stage.stage).addComparison(phase, stage.computeNs / 1e6, predictedMs);
    }
  }

  #refresh(): void {
    const { readLogRowsDropped, readSpansDropped } = this.#options;
    const instruments = this.#instruments;
    this.#process.refresh();
    instruments
      .gauge("noodle_process_resident_memory_bytes")
      .child("coordinator", "coordinator")
      ?.set(process.memoryUsage.rss());
    instruments.gauge("noodle_num_requests_running").child()?.set(this.#requests.running);
    instruments.gauge("noodle_num_requests_waiting").child()?.set(this.#requests.waiting);
    for (const stage of this.#stages.values()) stage.refreshDrift();
    const logRows = readLogRowsDropped?.() ?? 0;
    instruments
      .counter("noodle_log_rows_dropped_total")
      .child()
      ?.inc(Math.max(0, logRows - this.#logRowsDropped));
    this.#logRowsDropped = logRows;
    const spans = readSpansDropped?.() ?? 0;
    instruments
      .counter("noodle_spans_dropped_total")
      .child()
      ?.inc(Math.max(0, spans - this.#spansDropped));
    this.#spansDropped = spans;
    const figures = this.#readFigures();
    if (figures === null) return;
    this.#showBusy(figures);
    this.#countPrefixes(figures.serving.prefix_cache);
    const capacity = figures.coordinator.context_tokens * figures.coordinator.parallel;
    const used = figures.sessions.reduce((sum, session) => sum + session.prompt_tokens + session.generated_tokens, 0);
    instruments.gauge("noodle_kv_cache_capacity_tokens").child()?.set(capacity);
    instruments
      .gauge("noodle_kv_cache_usage_ratio")
      .child()
      ?.set(capacity === 0 ? 0 : used / capacity);
  }

  #countPrefixes(now: PrefixFigures): void {
    const { hits, misses, reused_tokens: tokens } = this.#prefixes;
    this.#prefixes = now;
    // Less than before: another pipeline's counts, from zero.
    const since = (value: number, before: number): number => (value < before ? value : value - before);
    const lookups = this.#instruments.counter("noodle_prefix_cache_lookups_total");
    lookups.child("hit")?.inc(since(now.hits, hits));
    lookups.child("miss")?.inc(since(now.misses, misses));
    this.#instruments.counter("noodle_prefix_cache_reused_tokens_total").child()?.inc(since(now.reused_tokens, tokens));
  }

  #showBusy({ coordinator, stages }: ClusterFigures): void {
    const ofStages = this.#instruments.gauge("noodle_stage_engine_busy_ratio");
    ofStages.clear();
    for (const { index, engine_busy_ratio: ratio } of stages) {
      if (ratio !== null) ofStages.child(String(index))?.set(ratio);
    }
    if (coordinator.cpu_ratio !== null) {
      this.#instruments.gauge("noodle_coordinator_cpu_ratio").child()?.set(coordinator.cpu_ratio);
    }
  }
}
