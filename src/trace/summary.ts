import type { RequestTrace, TraceStage, TraceStep } from "./schema.ts";

/** What a stage spent on a step, in ms. */
export interface StageSummary {
  readonly stage: number;
  readonly node: string;
  readonly units: string;
  readonly queueMs: number;
  readonly computeMs: number;
  readonly serializeMs: number;
  readonly hopMs: number;
  /** Of the step's time. */
  readonly share: number;
  /** Null where the stage's inside was not looked into. */
  readonly slowest: { readonly unit: number; readonly role: string; readonly ms: number } | null;
}

/** Medians over the steps of one phase. */
export interface PhaseSummary {
  readonly steps: number;
  readonly rows: number;
  /** From the sending of a step to its answer. */
  readonly stepMs: number;
  readonly stages: readonly StageSummary[];
  /** What of the step's time no stage and no hop accounts for: handing over, the way back, waiting for credit. */
  readonly elsewhereMs: number;
}

export interface TraceSummary {
  readonly prefill: PhaseSummary | null;
  readonly decode: PhaseSummary | null;
}

/** Where the time of a request's steps went, stage by stage. Pure. */
export function summarizeTrace(trace: RequestTrace): TraceSummary {
  return { prefill: summarizePhase(trace, "prefill"), decode: summarizePhase(trace, "decode") };
}

function summarizePhase(trace: RequestTrace, phase: TraceStep["phase"]): PhaseSummary | null {
  const steps = trace.steps.filter((step) => step.phase === phase);
  if (steps.length === 0) return null;
  const stepMs = medianOf(steps.map((step) => step.received_mono_ns - step.sent_mono_ns)) / 1e6;
  const stages = trace.stages.map((stage) => summarizeStage(stage, steps, stepMs));
  const spentMs = stages.reduce((sum, stage) => sum + totalMs(stage), 0);
  return {
    steps: steps.length,
    rows: steps.reduce((sum, step) => sum + step.rows, 0),
    stepMs,
    stages,
    elsewhereMs: Math.max(0, stepMs - spentMs),
  };
}

function totalMs(stage: Pick<StageSummary, "queueMs" | "computeMs" | "serializeMs" | "hopMs">): number {
  return stage.queueMs + stage.computeMs + stage.serializeMs + stage.hopMs;
}

function summarizeStage(holder: TraceStage, steps: readonly TraceStep[], stepMs: number): StageSummary {
  const spent = steps.flatMap((step) => step.stages.filter((entry) => entry.stage === holder.stage));
  const times = {
    queueMs: medianOf(spent.map((entry) => entry.queue_ns)) / 1e6,
    computeMs: medianOf(spent.map((entry) => entry.compute_ns)) / 1e6,
    serializeMs: medianOf(spent.map((entry) => entry.serialize_ns)) / 1e6,
    hopMs: medianOf(spent.flatMap((entry) => (entry.hop_ns === null ? [] : [entry.hop_ns]))) / 1e6,
  };
  return {
    stage: holder.stage,
    node: holder.name,
    units: holder.units,
    ...times,
    share: stepMs > 0 ? totalMs(times) / stepMs : 0,
    slowest: findSlowest(holder, steps),
  };
}

/** The unit (and, at finer levels, its role) with the largest median of its time in a step. */
function findSlowest(holder: TraceStage, steps: readonly TraceStep[]): StageSummary["slowest"] {
  const samples = new Map<string, { readonly unit: number; readonly role: string; readonly ns: number[] }>();
  for (const layers of steps.flatMap((step) => step.layers.filter((entry) => entry.stage === holder.stage))) {
    const sums = new Map<string, { readonly unit: number; readonly role: string; ns: number }>();
    for (const { unit, role, duration_ns } of layers.segments) {
      const key = `${unit}/${role}`;
      const sum = sums.get(key) ?? { unit, role, ns: 0 };
      sum.ns += duration_ns;
      sums.set(key, sum);
    }
    for (const [key, { unit, role, ns }] of sums) {
      const sample = samples.get(key) ?? { unit, role, ns: [] };
      sample.ns.push(ns);
      samples.set(key, sample);
    }
  }
  let slowest: StageSummary["slowest"] = null;
  for (const { unit, role, ns } of samples.values()) {
    const ms = medianOf(ns) / 1e6;
    if (slowest === null || ms > slowest.ms) slowest = { unit, role, ms };
  }
  return slowest;
}

/** The lower middle value; 0 without values. */
function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}
