import { sum } from "../common/index.ts";

/** A mean over repetitions, and where the true one lies with 95% confidence (Student's t). */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

/** Two-sided 95% quantiles of Student's t, by degrees of freedom from 1. */
const T95 = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.179, 2.145, 2.12, 2.101, 2.086];
const T95_OF_MANY = 1.96;

/** Of at least one value; of one alone there is no interval but itself. */
export function estimateMean(values: readonly number[]): Estimate {
  const count = values.length;
  const mean = sum(values) / count;
  if (count < 2) return { mean, low: mean, high: mean };
  const variance = sum(values.map((value) => (value - mean) ** 2)) / (count - 1);
  const half = (T95[count - 2] ?? T95_OF_MANY) * Math.sqrt(variance / count);
  return { mean, low: mean - half, high: mean + half };
}

/** Spearman's rank correlation; ties share their mean rank. 1 of fewer than two pairs, 0 where one side is all alike. */
export function correlateRanks(a: readonly number[], b: readonly number[]): number {
  if (a.length < 2) return 1;
  const [x, y] = [rank(a), rank(b)];
  const middle = (a.length + 1) / 2;
  const product = sum(x.map((value, i) => (value - middle) * ((y[i] ?? middle) - middle)));
  const spread = (ranks: readonly number[]): number => sum(ranks.map((value) => (value - middle) ** 2));
  const most = Math.sqrt(spread(x) * spread(y));
  return most === 0 ? 0 : product / most;
}

function rank(values: readonly number[]): readonly number[] {
  return values.map((value) => {
    const below = values.filter((other) => other < value).length;
    const same = values.filter((other) => other === value).length;
    return below + (same + 1) / 2;
  });
}
