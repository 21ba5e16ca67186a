import { median, quantile } from "../common/index.ts";

/** What a list of samples says, outliers left out. */
export interface Statistics {
  /** Samples kept. */
  readonly n: number;
  readonly mean: number;
  readonly p50: number;
  readonly p95: number;
  /** Of a sample, not of the mean. */
  readonly sd: number;
}

/** Median absolute deviation of a normal distribution, in standard deviations. */
const MAD_OF_NORMAL = 0.6745;
/** Beyond so many standard deviations (estimated robustly) a sample is the machine's, not the model's. */
const OUTLIER_DEVIATIONS = 5;
/** Where half of the samples are equal to the last bit the deviation is 0; then this share of the median counts. */
const SMALLEST_DEVIATION_RATIO = 0.001;
/** With fewer there is no telling what is usual. */
const MIN_SAMPLES_TO_JUDGE = 5;

/**
 * Robust summary: samples further than five deviations above the median (of the median absolute deviation) are left
 * out. Only above: nothing makes a step faster than it is, but a scheduler or another program makes it slower.
 *
 * @returns zeros for no samples
 */
export function summarise(samples: readonly number[]): Statistics {
  const sorted = dropOutliers(samples.toSorted((a, b) => a - b));
  if (sorted.length === 0) return { n: 0, mean: 0, p50: 0, p95: 0, sd: 0 };
  const mean = sorted.reduce((total, sample) => total + sample, 0) / sorted.length;
  const squares = sorted.reduce((total, sample) => total + (sample - mean) ** 2, 0);
  return {
    n: sorted.length,
    mean,
    p50: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    sd: sorted.length < 2 ? 0 : Math.sqrt(squares / (sorted.length - 1)),
  };
}

/** @param sorted ascending */
function dropOutliers(sorted: readonly number[]): readonly number[] {
  if (sorted.length < MIN_SAMPLES_TO_JUDGE) return sorted;
  const middle = quantile(sorted, 0.5);
  const deviation = median(sorted.map((sample) => Math.abs(sample - middle))) / MAD_OF_NORMAL;
  const limit = middle + OUTLIER_DEVIATIONS * Math.max(deviation, middle * SMALLEST_DEVIATION_RATIO);
  return sorted.filter((sample) => sample <= limit);
}
