import type { PlanRecord, RequestRecord, StageStepRecord, StepRecord } from "../observe/index.ts";
import { ERROR_TYPE, GEN_AI, NOODLE, PROVIDER, SPAN } from "./names.ts";

/** A span to be made. Times on the coordinator's monotonic clock. */
export interface SpanPlan {
  readonly name: string;
  readonly startMonoNs: number;
  readonly endMonoNs: number;
  readonly attributes: Readonly<Record<string, string | number | string[]>>;
  /** Code of the error that it ended with; null otherwise. */
  readonly errorCode: string | null;
  readonly children: readonly SpanPlan[];
}

/** A step that was kept, with the plan that it ran in. */
export interface SampledStep {
  readonly record: StepRecord;
  readonly plan: PlanRecord | null;
}

export interface RequestFacts {
  readonly operation: "chat" | "text_completion";
  readonly model: string;
}

const NS_PER_MS = 1e6;

/** The spans of one request: itself, then queue, prefill and decode, then its sampled steps and their stages. Pure. */
export function planRequestSpans(
  facts: RequestFacts,
  end: Extract<RequestRecord, { type: "end" }>,
  steps: readonly SampledStep[],
): SpanPlan {
  const { operation, model } = facts;
  const { startMonoNs, monoNs, firstStepMonoNs, firstTokenMonoNs, finishReason } = end;
  // A request that was interrupted has neither a reason nor an error.
  const errorCode = finishReason === null ? (end.errorCode ?? "INTERRUPTED") : null;
  return {
    name: `${operation} ${model}`,
    startMonoNs,
    endMonoNs: monoNs,
    errorCode,
    attributes: {
      [GEN_AI.operationName]: operation,
      [GEN_AI.providerName]: PROVIDER,
      [GEN_AI.requestModel]: model,
      [GEN_AI.requestMaxTokens]: end.maxTokens,
      [GEN_AI.requestTemperature]: end.temperature,
      [GEN_AI.requestSeed]: end.seed,
      [GEN_AI.responseId]: end.requestId,
      [GEN_AI.responseModel]: model,
      [GEN_AI.usageInputTokens]: end.promptTokens,
      [GEN_AI.usageOutputTokens]: end.generatedTokens,
      [NOODLE.steps]: steps.length,
      ...(finishReason === null ? {} : { [GEN_AI.responseFinishReasons]: [finishReason] }),
      ...(errorCode === null ? {} : { [ERROR_TYPE]: errorCode }),
      ...(firstTokenMonoNs === null
        ? {}
        : { [GEN_AI.responseTimeToFirstChunk]: (firstTokenMonoNs - startMonoNs) / 1e9 }),
    },
    children: [
      planPart(SPAN.queue, startMonoNs, firstStepMonoNs ?? monoNs, []),
      ...(firstStepMonoNs === null
        ? []
        : [planPart(SPAN.prefill, firstStepMonoNs, firstTokenMonoNs ?? monoNs, pickSteps(steps, "prefill"))]),
      ...(firstTokenMonoNs === null
        ? []
        : [planPart(SPAN.decode, firstTokenMonoNs, monoNs, pickSteps(steps, "decode"))]),
    ],
  };
}

function planPart(name: string, startMonoNs: number, endMonoNs: number, children: readonly SpanPlan[]): SpanPlan {
  return { name, startMonoNs, endMonoNs, attributes: {}, errorCode: null, children };
}

function pickSteps(steps: readonly SampledStep[], phase: StepRecord["phase"]): readonly SpanPlan[] {
  return steps.filter(({ record }) => record.phase === phase).map(planStep);
}

/**
 * A step with its stages one behind the other from its sending on. Each stage's durations are its own; that they
 * follow each other without gaps is an assumption, since no two machines' clocks are subtracted.
 */
function planStep({ record, plan }: SampledStep): SpanPlan {
  let atMonoNs = record.sentMonoNs;
  const children = record.stages.map((stage) => {
    const startMonoNs = atMonoNs + (stage.hopNs ?? 0);
    atMonoNs = startMonoNs + stage.queueNs + stage.computeNs + stage.serializeNs;
    return planStage(stage, startMonoNs, atMonoNs, findUnits(record, plan, stage.stage));
  });
  return {
    name: SPAN.step,
    startMonoNs: record.sentMonoNs,
    endMonoNs: record.receivedMonoNs,
    errorCode: null,
    attributes: {
      [NOODLE.stepId]: record.stepId,
      [NOODLE.epoch]: record.epoch,
      [NOODLE.rows]: record.rows,
      [NOODLE.contextTokens]: record.contextTokens,
    },
    children,
  };
}

function planStage(
  stage: StageStepRecord,
  startMonoNs: number,
  endMonoNs: number,
  units: string | undefined,
): SpanPlan {
  return {
    name: SPAN.stage,
    startMonoNs,
    endMonoNs,
    errorCode: null,
    attributes: {
      [NOODLE.stage]: stage.stage,
      [NOODLE.node]: stage.nodeId,
      ...(units === undefined ? {} : { [NOODLE.units]: units }),
      [NOODLE.queueMs]: stage.queueNs / NS_PER_MS,
      [NOODLE.computeMs]: stage.computeNs / NS_PER_MS,
      [NOODLE.serializeMs]: stage.serializeNs / NS_PER_MS,
      ...(stage.hopNs === null ? {} : { [NOODLE.hopMs]: stage.hopNs / NS_PER_MS }),
      [NOODLE.bytesIn]: stage.bytesIn,
      [NOODLE.placement]: "estimated",
    },
    children: [],
  };
}

function findUnits(record: StepRecord, plan: PlanRecord | null, stage: number): string | undefined {
  if (plan === null || plan.epoch !== record.epoch) return undefined;
  return plan.stages.find((planned) => planned.stage === stage)?.units;
}
