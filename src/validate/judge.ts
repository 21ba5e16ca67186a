import { sum } from "../common/index.ts";
import { correlateRanks, type Estimate, estimateMean } from "./statistics.ts";
import type { RunFigures } from "./types.ts";

/** A plan's prediction beside its repetitions. */
export interface JudgedPlan {
  readonly predicted: RunFigures;
  /** At least one. */
  readonly measured: readonly RunFigures[];
}

export const METRICS = ["tokensPerSec", "ttftMs", "itlMs"] as const;

export type Metric = (typeof METRICS)[number];

/** Predicted / measured - 1: positive where more was promised than there was. */
export interface MetricJudgement {
  readonly predicted: number;
  readonly measured: Estimate;
  readonly error: Estimate;
}

export interface ErrorSummary {
  readonly meanAbsolute: number;
  readonly maxAbsolute: number;
  readonly meanSigned: number;
}

export interface Judgement {
  readonly plans: readonly Readonly<Record<Metric, MetricJudgement>>[];
  readonly errors: Readonly<Record<Metric, ErrorSummary>>;
  /** Spearman, of predicted and measured throughput over the plans. */
  readonly rankCorrelation: number;
  /** What is lost by running the plan that was predicted to be the best: 1 - its measured throughput / the best one's. */
  readonly regret: number;
}

/** Holds predictions against measurements. Pure. */
export function judge(plans: readonly JudgedPlan[]): Judgement {
  const judged = plans.map(({ predicted, measured }) => ({
    tokensPerSec: judgeMetric("tokensPerSec", predicted, measured),
    ttftMs: judgeMetric("ttftMs", predicted, measured),
    itlMs: judgeMetric("itlMs", predicted, measured),
  }));
  const promised = judged.map(({ tokensPerSec }) => tokensPerSec.predicted);
  const given = judged.map(({ tokensPerSec }) => tokensPerSec.measured.mean);
  const chosen = given[promised.indexOf(Math.max(...promised))] ?? 0;
  const best = Math.max(0, ...given);
  return {
    plans: judged,
    errors: {
      tokensPerSec: summarize(judged.map(({ tokensPerSec }) => tokensPerSec.error.mean)),
      ttftMs: summarize(judged.map(({ ttftMs }) => ttftMs.error.mean)),
      itlMs: summarize(judged.map(({ itlMs }) => itlMs.error.mean)),
    },
    rankCorrelation: correlateRanks(promised, given),
    regret: best > 0 ? 1 - chosen / best : 0,
  };
}

/** @param measured of at least one repetition */
export function judgeValues(predicted: number, measured: readonly number[]): MetricJudgement {
  const estimate = estimateMean(measured);
  const error = (value: number): number => (value > 0 ? predicted / value - 1 : 0);
  return {
    predicted,
    measured: estimate,
    error: { mean: error(estimate.mean), low: error(estimate.high), high: error(Math.max(estimate.low, TINY)) },
  };
}

/** An interval of few repetitions may reach below zero. */
const TINY = 1e-9;

function judgeMetric(metric: Metric, predicted: RunFigures, measured: readonly RunFigures[]): MetricJudgement {
  return judgeValues(
    predicted[metric],
    measured.map((figures) => figures[metric]),
  );
}

function summarize(errors: readonly number[]): ErrorSummary {
  const absolute = errors.map((error) => Math.abs(error));
  const count = Math.max(1, errors.length);
  return {
    meanAbsolute: sum(absolute) / count,
    maxAbsolute: Math.max(0, ...absolute),
    meanSigned: sum(errors) / count,
  };
}
