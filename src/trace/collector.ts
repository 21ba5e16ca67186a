import {
  type ClusterObserver,
  type LayerRecord,
  type LinkRecord,
  type NodeRecord,
  type PlanRecord,
  type RequestRecord,
  type StepRecord,
  writeStageTimes,
} from "../observe/index.ts";
import type { RequestTrace, TraceLayers, TraceStage, TraceStep } from "./schema.ts";

export interface TraceCollectorOptions {
  /** Requests that are kept; the oldest of those that have ended goes first. @default 8 */
  readonly maxRequests?: number;
  /**
   * Steps of all requests together, about 1 KiB each. Requests that have ended make room, the oldest first; where none
   * has, later steps are counted only. @default 8192
   */
  readonly maxSteps?: number;
  /** Segments of all steps together, about 100 bytes each; likewise. @default 100000 */
  readonly maxSegments?: number;
}

interface Kept {
  readonly start: RequestRecord & { readonly type: "start" };
  end: (RequestRecord & { readonly type: "end" }) | null;
  readonly steps: Map<string, { readonly step: StepRecord; readonly layers: LayerRecord[] }>;
  segments: number;
  stepsForgotten: number;
  layersForgotten: number;
}

const PLANS_KEPT = 8;
const NODES_KEPT = 1024;

/**
 * Puts the records of a running cluster together, request by request, in bounded memory. Feed it all records; ask for a
 * request's trace at any time, also while it runs. Insides of steps come later than the steps: `countMissingLayers` of
 * a trace says whether some are still on their way.
 */
export class TraceCollector implements ClusterObserver {
  readonly #maxRequests: number;
  readonly #maxSteps: number;
  readonly #maxSegments: number;
  readonly #requests = new Map<string, Kept>();
  readonly #plans = new Map<number, PlanRecord>();
  readonly #nodes = new Map<string, NodeRecord>();
  readonly #links = new Map<string, LinkRecord>();
  #steps = 0;
  #segments = 0;
  #forgotten = 0;

  constructor(options: TraceCollectorOptions = {}) {
    this.#maxRequests = options.maxRequests ?? 8;
    this.#maxSteps = options.maxSteps ?? 8192;
    this.#maxSegments = options.maxSegments ?? 100_000;
  }

  /** Ids of the requests that are kept, the oldest first. */
  get requestIds(): readonly string[] {
    return [...this.#requests.keys()];
  }

  /** Requests that had to make room. */
  get requestsForgotten(): number {
    return this.#forgotten;
  }

  onRequest(record: RequestRecord): void {
    if (record.type === "end") {
      const kept = this.#requests.get(record.requestId);
      if (kept !== undefined) kept.end = record;
      return;
    }
    this.#requests.set(record.requestId, {
      start: record,
      end: null,
      steps: new Map(),
      segments: 0,
      stepsForgotten: 0,
      layersForgotten: 0,
    });
    if (this.#requests.size <= this.#maxRequests || this.#forgetEnded(record.requestId)) return;
    const [oldest] = this.#requests.keys();
    if (oldest !== undefined) this.#forget(oldest);
  }

  onStep(record: StepRecord): void {
    for (const id of record.requestIds) {
      const kept = this.#requests.get(id);
      if (kept === undefined) continue;
      while (this.#steps >= this.#maxSteps && this.#forgetEnded(id));
      if (this.#steps >= this.#maxSteps) {
        kept.stepsForgotten += 1;
      } else {
        this.#steps += 1;
        kept.steps.set(stepKey(record), { step: record, layers: [] });
      }
    }
  }

  onLayer(record: LayerRecord): void {
    for (const id of record.requestIds) {
      const kept = this.#requests.get(id);
      if (kept === undefined) continue;
      const step = kept.steps.get(stepKey(record));
      const { length } = record.segments;
      while (this.#segments + length > this.#maxSegments && this.#forgetEnded(id));
      if (step === undefined || this.#segments + length > this.#maxSegments) {
        kept.layersForgotten += 1;
      } else {
        this.#segments += length;
        kept.segments += length;
        step.layers.push(record);
      }
    }
  }

  onLink(record: LinkRecord): void {
    if (record.from === "coordinator") keep(this.#links, record.to, record, NODES_KEPT);
  }

  onNode(record: NodeRecord): void {
    keep(this.#nodes, record.nodeId, record, NODES_KEPT);
  }

  onPlan(record: PlanRecord): void {
    keep(this.#plans, record.epoch, record, PLANS_KEPT);
  }

  /** @returns null when nothing is known of the request */
  readTrace(requestId: string): RequestTrace | null {
    const kept = this.#requests.get(requestId);
    if (kept === undefined) return null;
    const { start, end } = kept;
    const steps = [...kept.steps.values()].map(({ step, layers }) => writeStep(step, layers, requestId));
    return {
      schema: "noodle.trace.v1",
      request_id: requestId,
      prompt_tokens: start.promptTokens,
      generated_tokens: end?.generatedTokens ?? steps.filter((step) => step.phase === "decode").length,
      max_tokens: start.maxTokens,
      start_mono_ns: start.monoNs,
      first_step_mono_ns: end?.firstStepMonoNs ?? steps[0]?.sent_mono_ns ?? null,
      first_token_mono_ns: end?.firstTokenMonoNs ?? null,
      end_mono_ns: end?.monoNs ?? null,
      finish_reason: end?.finishReason ?? null,
      error_code: end?.errorCode ?? null,
      stages: this.#describeStages(steps),
      steps,
      steps_forgotten: kept.stepsForgotten,
      layers_forgotten: kept.layersForgotten,
    };
  }

  /** Forgets the oldest request that has ended, unless it is `except`. @returns false when there is none */
  #forgetEnded(except: string): boolean {
    for (const [id, kept] of this.#requests) {
      if (kept.end === null || id === except) continue;
      this.#forget(id);
      return true;
    }
    return false;
  }

  #forget(id: string): void {
    const kept = this.#requests.get(id);
    if (kept === undefined) return;
    this.#requests.delete(id);
    this.#steps -= kept.steps.size;
    this.#segments -= kept.segments;
    this.#forgotten += 1;
  }

  /** All stages that the steps went through; a request lives in one plan, so there is one node for each. */
  #describeStages(steps: readonly TraceStep[]): TraceStage[] {
    const found = new Map<number, TraceStage>();
    for (const step of steps) {
      for (const { stage, node_id } of step.stages) {
        if (found.has(stage)) continue;
        const node = this.#nodes.get(node_id);
        const link = this.#links.get(node_id);
        const planned = this.#plans.get(step.epoch)?.stages.find((entry) => entry.stage === stage);
        found.set(stage, {
          stage,
          node_id,
          name: node?.name ?? node_id,
          units: planned?.units ?? node?.units ?? "?",
          weights_bytes: node?.weightsBytes ?? 0,
          kv_bytes: node?.kvBytes ?? 0,
          compute_bytes: node?.computeBytes ?? 0,
          rtt_ns: link?.rttNs ?? null,
          clock_offset_ns: link?.clockOffsetNs ?? null,
          clock_uncertainty_ns: link?.clockUncertaintyNs ?? null,
        });
      }
    }
    return [...found.values()].sort((a, b) => a.stage - b.stage);
  }
}

/** Stages of observed steps whose insides have not come (yet). */
export function countMissingLayers(trace: RequestTrace): number {
  let missing = 0;
  for (const { level, stages, layers } of trace.steps) {
    if (level !== "step" && level !== "off") missing += Math.max(0, stages.length - layers.length);
  }
  return Math.max(0, missing - trace.layers_forgotten);
}

function stepKey({ epoch, stepId }: { readonly epoch: number; readonly stepId: number }): string {
  return `${epoch}:${stepId}`;
}

/** The latest of each key; keys that were not heard of for longest go first. */
function keep<K, V>(map: Map<K, V>, key: K, value: V, limit: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > limit && oldest !== undefined) map.delete(oldest);
}

function writeStep(step: StepRecord, layers: readonly LayerRecord[], requestId: string): TraceStep {
  return {
    step_id: step.stepId,
    epoch: step.epoch,
    phase: step.phase,
    rows: step.rows,
    context_tokens: step.contextTokens,
    level: step.level,
    sent_mono_ns: step.sentMonoNs,
    received_mono_ns: step.receivedMonoNs,
    sampled: step.sampledRequestIds.includes(requestId),
    stages: step.stages.map(writeStageTimes),
    layers: layers.toSorted((a, b) => a.stage - b.stage).map(writeLayers),
  };
}

function writeLayers(record: LayerRecord): TraceLayers {
  return {
    stage: record.stage,
    node_id: record.nodeId,
    level: record.level,
    rows: record.rows,
    step_ns: record.stepNs,
    hook_ns: record.hookNs,
    arrival_node_ns: record.arrivalNodeNs,
    compute_start_node_ns: record.computeStartNodeNs,
    compute_end_node_ns: record.computeEndNodeNs,
    sent_node_ns: record.sentNodeNs,
    segments: record.segments.map(({ unit, role, startNs, durationNs, nodes }) => ({
      unit,
      role,
      start_ns: startNs,
      duration_ns: durationNs,
      nodes,
    })),
  };
}
