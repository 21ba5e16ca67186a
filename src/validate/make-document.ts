import { must } from "../common/index.ts";
import { formatSplit } from "../model/index.ts";
import type { PlacementModel } from "../placement/index.ts";
import type { SchedulePolicy } from "../schedule/index.ts";
import type { ValidationDocument } from "./document.ts";
import { holdAgainstGoals } from "./goals.ts";
import { type ErrorSummary, judge, judgeValues, type MetricJudgement } from "./judge.ts";
import type { Prediction } from "./predict-run.ts";
import type { Calibration, LinkShape, RunFigures, RunLoad, RunPlan } from "./types.ts";

/** A plan that was predicted and run. */
export interface ValidatedPlan {
  readonly plan: RunPlan;
  readonly policy: SchedulePolicy;
  readonly prediction: Prediction;
  readonly measured: readonly RunFigures[];
}

export interface ValidationFacts {
  readonly noodlecoreVersion: string;
  readonly model: PlacementModel;
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly threads: number;
  readonly load: RunLoad;
  readonly slowness: readonly number[];
  readonly shape: LinkShape | null;
  readonly calibration: Calibration;
  readonly notes: readonly string[];
}

/** Puts predictions beside measurements. Pure. */
export function makeValidation(facts: ValidationFacts, plans: readonly ValidatedPlan[]): ValidationDocument {
  const judgement = judge(plans.map(({ prediction, measured }) => ({ predicted: prediction.figures, measured })));
  const { model, load, shape, calibration } = facts;
  const { description } = model;
  const { overheads, inPlace, coRun } = calibration;
  return {
    schema: "noodle.validation.v1",
    noodlecore_version: facts.noodlecoreVersion,
    model: {
      name: description.name,
      architecture: description.architecture,
      header_sha256: model.headerSha256,
      units: description.units.length,
      embedding_length: description.embeddingLength,
    },
    machine: facts.machine,
    threads: facts.threads,
    repetitions: Math.min(...plans.map(({ measured }) => measured.length)),
    load: {
      streams: load.streams,
      requests: load.requests,
      prompt_tokens: load.promptTokens,
      gen_tokens: load.genTokens,
      context_tokens: load.contextTokens,
    },
    workers: facts.slowness.map((slowness, index) => ({ name: `worker ${index + 1}`, slowness })),
    links:
      shape === null
        ? null
        : { latency_ms: shape.latencyMs, jitter_ms: shape.jitterMs, bytes_per_ms: shape.bytesPerMs },
    calibration: {
      ring_ms: overheads.ringMs,
      hop_ms: overheads.hopMs,
      hop_ms_per_byte: overheads.hopMsPerByte,
      turn_ms: overheads.turnMs,
      open_ms: overheads.openMs,
      close_ms: overheads.closeMs,
      in_place: { decode: [...inPlace.decode], prefill: [...inPlace.prefill] },
      co_run: coRun,
    },
    plans: plans.map((validated, index) => {
      const { tokensPerSec, ttftMs, itlMs } = must(judgement.plans[index], "judged plan");
      return {
        ...writePlan(validated),
        tokens_per_s: write(tokensPerSec),
        ttft_ms: write(ttftMs),
        itl_ms: write(itlMs),
      };
    }),
    summary: {
      tokens_per_s: writeErrors(judgement.errors.tokensPerSec),
      ttft_ms: writeErrors(judgement.errors.ttftMs),
      itl_ms: writeErrors(judgement.errors.itlMs),
      rank_correlation: judgement.rankCorrelation,
      regret: judgement.regret,
      goals: holdAgainstGoals(judgement).map((goal) => ({ ...goal })),
    },
    notes: [...facts.notes],
  };
}

type WrittenPlan = ValidationDocument["plans"][number];

function writePlan({
  plan,
  policy,
  prediction,
  measured,
}: ValidatedPlan): Omit<WrittenPlan, "tokens_per_s" | "ttft_ms" | "itl_ms"> {
  const { figures, coRunRatio } = prediction;
  return {
    name: plan.name,
    split: formatSplit(plan.stages),
    order: plan.stages.map(({ worker }) => worker),
    policy: {
      decode_in_flight: policy.decodeInFlight,
      max_decode_rows: policy.maxDecodeRows,
      prefill_rows: policy.prefillRows,
      mixed_prefill_rows: policy.mixedPrefillRows,
      max_hole: policy.maxHole ?? 1,
      least_decode_rows: policy.leastDecodeRows ?? 1,
    },
    co_run_ratio: coRunRatio,
    predicted: writeFigures(figures),
    measured: measured.map(writeFigures),
    stages: figures.stages.map((stage, index) => ({
      decode_ms: judgeStage(
        stage.decodeMs,
        measured.map(({ stages }) => stages[index]?.decodeMs ?? null),
      ),
      prefill_ms: judgeStage(
        stage.prefillMs,
        measured.map(({ stages }) => stages[index]?.prefillMs ?? null),
      ),
    })),
  };
}

function judgeStage(
  predicted: number | null,
  measured: readonly (number | null)[],
): WrittenPlan["tokens_per_s"] | null {
  const known = measured.filter((value) => value !== null);
  return predicted === null || known.length === 0 ? null : write(judgeValues(predicted, known));
}

function writeFigures({ tokensPerSec, ttftMs, itlMs, stages }: RunFigures): WrittenPlan["predicted"] {
  return {
    tokens_per_s: tokensPerSec,
    ttft_ms: ttftMs,
    itl_ms: itlMs,
    stages: stages.map(({ decodeMs, prefillMs, busyRatio }) => ({
      decode_ms: decodeMs,
      prefill_ms: prefillMs,
      busy_ratio: busyRatio,
    })),
  };
}

function write({ predicted, measured, error }: MetricJudgement): WrittenPlan["tokens_per_s"] {
  return { predicted, measured: { ...measured }, error: { ...error } };
}

function writeErrors({ meanAbsolute, maxAbsolute, meanSigned }: ErrorSummary): ValidationDocument["summary"]["itl_ms"] {
  return { mean_absolute: meanAbsolute, max_absolute: maxAbsolute, mean_signed: meanSigned };
}
