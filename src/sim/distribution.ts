import { z } from "zod";

const figure = z.number();

/** Null where there are no values. */
export const distributionSchema = z
  .object({ n: z.int(), mean: figure, p50: figure, p90: figure, p95: figure, p99: figure, max: figure })
  .nullable();

/** Of a set of times; quantiles lie between the two nearest values. */
export type Distribution = Readonly<NonNullable<z.infer<typeof distributionSchema>>>;

/** @param values NaN are left out */
export function describeValues(values: Float64Array): Distribution | null {
  const known = new Float64Array(values.length);
  let n = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!Number.isNaN(value)) known[n++] = value;
  }
  if (n === 0) return null;
  const sorted = known.subarray(0, n).sort();
  let total = 0;
  for (const value of sorted) total += value;
  const at = (q: number): number => {
    const place = (n - 1) * q;
    const low = sorted[Math.floor(place)] as number;
    const high = sorted[Math.ceil(place)] as number;
    return low + (high - low) * (place - Math.floor(place));
  };
  return { n, mean: total / n, p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99), max: at(1) };
}
