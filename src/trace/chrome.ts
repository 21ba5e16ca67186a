import { placeSlices, type Slice } from "./lanes.ts";
import { type PlacedStage, type PlacedStep, placeStep } from "./place-step.ts";
import type { RequestTrace, TraceLayers, TraceStage, TraceStep } from "./schema.ts";

/** An event of the Trace Event Format; `ts` and `dur` in microseconds, exact to the ns. */
export interface ChromeEvent {
  readonly name: string;
  readonly ph: "X" | "M" | "b" | "e" | "s" | "f" | "C";
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly cat?: string;
  readonly id?: string;
  readonly bp?: "e";
  readonly args?: Readonly<Record<string, unknown>>;
}

/** What ui.perfetto.dev and chrome://tracing open. */
export interface ChromeTrace {
  readonly traceEvents: readonly ChromeEvent[];
  readonly displayTimeUnit: "ms";
  readonly otherData: Readonly<Record<string, unknown>>;
}

const COORDINATOR_PID = 1;
const FIRST_STAGE_PID = 2;
const COORDINATOR_LANES = ["steps", "net-in"];
const STAGE_LANES = ["net-in", "queue", "compute", "layers", "net-out"];

interface Process {
  readonly pid: number;
  readonly name: string;
  readonly stage: TraceStage | null;
}

/** A way from slice to slice. */
interface Flow {
  readonly id: string;
  readonly from: Slice;
  readonly to: Slice;
}

/**
 * Draws requests as a Chrome trace: a process for the coordinator and for each stage's worker, lanes in each, the spans
 * of the requests, an arrow for every hop, counters. All times are on the coordinator's clock, from the first of them.
 * Slices of one row nest or lie apart.
 */
export function writeChromeTrace(traces: readonly RequestTrace[]): ChromeTrace {
  const originNs = findOrigin(traces);
  const processes = listProcesses(traces);
  const drawing = new Drawing(originNs, processes);
  for (const trace of traces) drawing.drawRequest(trace);
  return {
    traceEvents: drawing.finish(),
    displayTimeUnit: "ms",
    otherData: {
      schema: "noodle.trace.v1",
      clock: "the coordinator's monotonic clock, from origin_mono_ns",
      origin_mono_ns: originNs,
      requests: traces.map((trace) => trace.request_id),
      processes: processes.map(({ pid, name, stage }) => ({
        pid,
        name,
        node: stage?.node_id ?? "coordinator",
        clock_offset_us: toUs(stage?.clock_offset_ns ?? null),
        clock_uncertainty_us: toUs(stage?.clock_uncertainty_ns ?? null),
        rtt_us: toUs(stage?.rtt_ns ?? null),
      })),
      steps_forgotten: traces.reduce((sum, trace) => sum + trace.steps_forgotten, 0),
      layers_forgotten: traces.reduce((sum, trace) => sum + trace.layers_forgotten, 0),
    },
  };
}

function findOrigin(traces: readonly RequestTrace[]): number {
  let originNs = Number.POSITIVE_INFINITY;
  for (const trace of traces) {
    originNs = Math.min(originNs, Math.round(trace.start_mono_ns));
    for (const step of trace.steps) originNs = Math.min(originNs, Math.round(step.sent_mono_ns));
  }
  return Number.isFinite(originNs) ? originNs : 0;
}

function processKey(stage: Pick<TraceStage, "stage" | "node_id">): string {
  return `${stage.stage}/${stage.node_id}`;
}

function listProcesses(traces: readonly RequestTrace[]): readonly Process[] {
  const stages = new Map<string, TraceStage>();
  for (const stage of traces.flatMap((trace) => trace.stages)) stages.set(processKey(stage), stage);
  const ordered = [...stages.values()].sort((a, b) => a.stage - b.stage);
  return [
    { pid: COORDINATOR_PID, name: "coordinator", stage: null },
    ...ordered.map((stage, index) => ({
      pid: FIRST_STAGE_PID + index,
      name: `stage ${stage.stage} · ${stage.name} · units ${stage.units}`,
      stage,
    })),
  ];
}

function toUs(ns: number | null): number | null {
  return ns === null ? null : Math.round(ns) / 1000;
}

class Drawing {
  readonly #originNs: number;
  readonly #processes: readonly Process[];
  readonly #pids: ReadonlyMap<string, number>;
  readonly #events: ChromeEvent[] = [];
  readonly #slices: Slice[] = [];
  readonly #flows: Flow[] = [];
  /** Changes of queue depth and of steps in flight, by process. */
  readonly #depths = new Map<string, { pid: number; name: string; changes: { atNs: number; by: number }[] }>();
  readonly #drawn = new Set<string>();

  constructor(originNs: number, processes: readonly Process[]) {
    this.#originNs = originNs;
    this.#processes = processes;
    this.#pids = new Map(
      processes.flatMap(({ pid, stage }) => (stage === null ? [] : [[processKey(stage), pid] as const])),
    );
  }

  drawRequest(trace: RequestTrace): void {
    let lastNs = Math.round(trace.start_mono_ns);
    let lastTokenNs: number | null = null;
    for (const step of trace.steps) {
      const placed = placeStep(step, trace.stages);
      lastNs = Math.max(lastNs, placed.receivedNs);
      this.#count(COORDINATOR_PID, `KV tokens ${shortId(trace)}`, placed.receivedNs, { tokens: step.context_tokens });
      if (step.phase === "decode") {
        if (lastTokenNs !== null && placed.receivedNs > lastTokenNs) {
          const tokensPerSec = 1e9 / (placed.receivedNs - lastTokenNs);
          this.#count(COORDINATOR_PID, `tokens/s ${shortId(trace)}`, placed.receivedNs, {
            tokens_per_sec: tokensPerSec,
          });
        }
        lastTokenNs = placed.receivedNs;
      }
      // A step of several requests is in the trace of each.
      const key = `${step.epoch}:${step.step_id}`;
      if (this.#drawn.has(key)) continue;
      this.#drawn.add(key);
      this.#drawStep(trace, step, placed);
    }
    this.#drawSpans(trace, lastNs);
  }

  /** All events, metadata first, the others in the order of time. */
  finish(): readonly ChromeEvent[] {
    const lanes = new Map(
      this.#processes.map(({ pid, stage }) => [pid, stage === null ? COORDINATOR_LANES : STAGE_LANES] as const),
    );
    const { rows, tidOf } = placeSlices(this.#slices, lanes);
    for (const slice of this.#slices) {
      const place = { pid: slice.pid, tid: tidOf.get(slice) ?? 0 };
      for (const { name, startNs, endNs, args } of [slice, ...slice.inside]) {
        const dur = Math.round(endNs - startNs) / 1000;
        this.#events.push({ name, ph: "X", cat: slice.lane, ...place, ts: this.#ts(startNs), dur, args });
      }
    }
    for (const { id, from, to } of this.#flows) {
      const common = { name: "hop", cat: "hop", id };
      const ends = (slice: Slice) => ({ pid: slice.pid, tid: tidOf.get(slice) ?? 0, ts: this.#ts(slice.startNs) });
      this.#events.push({ ...common, ph: "s", ...ends(from) }, { ...common, ph: "f", bp: "e", ...ends(to) });
    }
    this.#countDepths();
    const metadata = this.#processes.flatMap(({ pid, name }, index): ChromeEvent[] => [
      { name: "process_name", ph: "M", pid, tid: 0, ts: 0, args: { name } },
      { name: "process_sort_index", ph: "M", pid, tid: 0, ts: 0, args: { sort_index: index } },
    ]);
    for (const { pid, tid, name } of rows) {
      metadata.push({ name: "thread_name", ph: "M", pid, tid, ts: 0, args: { name } });
      metadata.push({ name: "thread_sort_index", ph: "M", pid, tid, ts: 0, args: { sort_index: tid } });
    }
    return [...metadata, ...this.#events.sort((a, b) => a.ts - b.ts)];
  }

  #drawStep(trace: RequestTrace, step: TraceStep, placed: PlacedStep): void {
    const { sentNs, receivedNs, stages } = placed;
    const name = `${step.phase} ${step.rows === 1 ? "1 row" : `${step.rows} rows`}`;
    const whole = this.#add(COORDINATOR_PID, "steps", name, sentNs, receivedNs, {
      step: step.step_id,
      epoch: step.epoch,
      level: step.level,
      context_tokens: step.context_tokens,
      placed_by: placed.basis,
      uncertainty_us: toUs(placed.uncertaintyNs),
      unaccounted_us: toUs(placed.unaccountedNs),
    });
    this.#change(COORDINATOR_PID, "steps in flight", sentNs, receivedNs);
    const flowId = (hop: number): string => `${trace.request_id}:${step.step_id}:${hop}`;
    let from = whole;
    for (const stage of stages) {
      const pid = this.#pids.get(processKey({ stage: stage.stage, node_id: stage.nodeId }));
      if (pid === undefined) continue;
      const { arrived, left } = this.#drawStage(pid, step, stage, placed.uncertaintyNs);
      this.#flows.push({ id: flowId(stage.stage), from, to: arrived });
      from = left;
    }
    const last = stages.at(-1);
    if (last === undefined) return;
    const back = this.#add(COORDINATOR_PID, "net-in", "back", last.sentNs, receivedNs, { step: step.step_id });
    this.#flows.push({ id: flowId(last.stage + 1), from, to: back });
  }

  #drawStage(
    pid: number,
    step: TraceStep,
    stage: PlacedStage,
    uncertaintyNs: number | null,
  ): { readonly arrived: Slice; readonly left: Slice } {
    const spent = step.stages.find((entry) => entry.stage === stage.stage && entry.node_id === stage.nodeId);
    const layers = step.layers.find((entry) => entry.stage === stage.stage && entry.node_id === stage.nodeId);
    const id = { step: step.step_id };
    const { departNs, arrivalNs, computeStartNs, computeEndNs, sentNs } = stage;
    const arrived = this.#add(pid, "net-in", "hop", departNs, arrivalNs, {
      ...id,
      bytes: spent?.bytes_in ?? 0,
      hop_us: toUs(spent?.hop_ns ?? null),
      uncertainty_us: toUs(uncertaintyNs),
    });
    this.#add(pid, "queue", "queue", arrivalNs, computeStartNs, { ...id, queue_us: toUs(spent?.queue_ns ?? null) });
    this.#change(pid, "queue depth", arrivalNs, computeStartNs);
    this.#add(pid, "compute", `${step.phase} ${step.rows}`, computeStartNs, computeEndNs, {
      ...id,
      rows: step.rows,
      context_tokens: step.context_tokens,
      compute_us: toUs(spent?.compute_ns ?? null),
    });
    if (layers !== undefined) this.#drawLayers(pid, step, layers, stage);
    const left = this.#add(pid, "net-out", "send", computeEndNs, sentNs, {
      ...id,
      serialize_us: toUs(spent?.serialize_ns ?? null),
    });
    return { arrived, left };
  }

  /** A slice for each unit's stretch of segments, and its roles inside. */
  #drawLayers(pid: number, step: TraceStep, layers: TraceLayers, stage: PlacedStage): void {
    const { computeStartNs, computeEndNs } = stage;
    const stretches: { readonly unit: number; readonly parts: Omit<Slice, "pid" | "lane" | "inside">[] }[] = [];
    let cursorNs = computeStartNs;
    for (const { unit, role, start_ns, duration_ns, nodes } of layers.segments) {
      const startNs = Math.min(computeEndNs, Math.max(cursorNs, Math.round(computeStartNs + start_ns)));
      const endNs = Math.min(computeEndNs, Math.max(startNs, Math.round(computeStartNs + start_ns + duration_ns)));
      cursorNs = endNs;
      const part = { name: role, startNs, endNs, args: { unit, nodes, duration_us: toUs(duration_ns) } };
      const last = stretches.at(-1);
      if (last?.unit === unit) last.parts.push(part);
      else stretches.push({ unit, parts: [part] });
    }
    for (const { unit, parts } of stretches) {
      const [first] = parts;
      const last = parts.at(-1);
      if (first === undefined || last === undefined) continue;
      const args = { step: step.step_id, unit, level: layers.level, duration_us: toUs(last.endNs - first.startNs) };
      const inside = layers.level === "layer" ? [] : parts;
      this.#add(pid, "layers", `unit ${unit}`, first.startNs, last.endNs, args, inside);
    }
  }

  #drawSpans(trace: RequestTrace, lastNs: number): void {
    const startNs = Math.round(trace.start_mono_ns);
    const endNs = Math.max(startNs, lastNs, Math.round(trace.end_mono_ns ?? lastNs));
    const span = (name: string, fromNs: number, toNs: number, args: Readonly<Record<string, unknown>>): void => {
      const common = { name, cat: "request", id: trace.request_id, pid: COORDINATOR_PID, tid: 0 };
      this.#events.push({ ...common, ph: "b", ts: this.#ts(fromNs), args }, { ...common, ph: "e", ts: this.#ts(toNs) });
    };
    const { prompt_tokens, generated_tokens, finish_reason, error_code } = trace;
    span("request", startNs, endNs, { prompt_tokens, generated_tokens, finish_reason, error_code });
    const firstNs = trace.first_token_mono_ns;
    if (firstNs === null) return;
    const middleNs = Math.min(endNs, Math.max(startNs, Math.round(firstNs)));
    span("prompt", startNs, middleNs, { prompt_tokens });
    span("generation", middleNs, endNs, { generated_tokens });
    for (const stage of trace.stages) {
      const pid = this.#pids.get(processKey(stage));
      if (pid !== undefined) this.#count(pid, "KV bytes", startNs, { bytes: stage.kv_bytes });
    }
  }

  #add(
    pid: number,
    lane: string,
    name: string,
    startNs: number,
    endNs: number,
    args: Readonly<Record<string, unknown>>,
    inside: Slice["inside"] = [],
  ): Slice {
    const slice = { pid, lane, name, startNs, endNs: Math.max(startNs, endNs), args, inside };
    this.#slices.push(slice);
    return slice;
  }

  #change(pid: number, name: string, fromNs: number, toNs: number): void {
    const key = `${pid}/${name}`;
    const depth = this.#depths.get(key) ?? { pid, name, changes: [] };
    depth.changes.push({ atNs: fromNs, by: 1 }, { atNs: toNs, by: -1 });
    this.#depths.set(key, depth);
  }

  #countDepths(): void {
    for (const { pid, name, changes } of this.#depths.values()) {
      let depth = 0;
      // Arrivals first: a step that waits for no time at all is never a step less than none.
      for (const { atNs, by } of changes.sort((a, b) => a.atNs - b.atNs || b.by - a.by)) {
        depth += by;
        this.#count(pid, name, atNs, { steps: depth });
      }
    }
  }

  #count(pid: number, name: string, atNs: number, args: Readonly<Record<string, number>>): void {
    this.#events.push({ name, ph: "C", pid, tid: 0, ts: this.#ts(atNs), args });
  }

  #ts(ns: number): number {
    return Math.round(ns - this.#originNs) / 1000;
  }
}

function shortId(trace: RequestTrace): string {
  return trace.request_id.slice(0, 8);
}
