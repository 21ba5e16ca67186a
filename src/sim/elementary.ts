/**
 * Logarithm and exponential by additions, multiplications and divisions alone. Those, and square roots, round the same
 * way on every machine (IEEE 754); what `Math.log` and `Math.exp` give is left to the engine, and one other last bit would
 * make another event log.
 */

const LN2_HIGH = 0.6931471803691238;
/** ln 2 - LN2_HIGH: a multiple of LN2_HIGH by a small whole number is exact. */
const LN2_LOW = 1.9082149292705877e-10;
/** 1/3, 1/5, ...: of the series of artanh. */
const ODD_PARTS = Array.from({ length: 12 }, (_, term) => 1 / (2 * term + 3));
/** 1, 1, 1/2, 1/6, ...: of the series of e to the power of x. */
const EXP_PARTS = Array.from({ length: 14 }).reduce<number[]>(
  (parts, _, term) => [...parts, (parts[term] ?? 1) / (term + 1)],
  [1],
);
/** For a rest of at most `SMALL`, so many terms are as good as all. */
const SMALL = 1 / 16;
const SMALL_TERMS = 8;

/** Natural logarithm. @param x a positive, finite number; within 2 units of the last place */
export function logOf(x: number): number {
  let mantissa = x;
  let exponent = 0;
  for (; mantissa > Math.SQRT2; exponent++) mantissa *= 0.5;
  for (; mantissa < Math.SQRT2 / 2; exponent--) mantissa *= 2;
  // ln m = 2 artanh((m - 1) / (m + 1))
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let series = 0;
  for (let term = ODD_PARTS.length - 1; term >= 0; term--) series = (series + (ODD_PARTS[term] as number)) * square;
  return exponent * LN2_HIGH + (2 * s + 2 * s * series + exponent * LN2_LOW);
}

/** e to the power of x. @param x between -700 and 700 */
export function expOf(x: number): number {
  const twos = Math.round(x / (LN2_HIGH + LN2_LOW));
  const rest = x - twos * LN2_HIGH - twos * LN2_LOW;
  const terms = rest <= SMALL && rest >= -SMALL ? SMALL_TERMS : EXP_PARTS.length - 1;
  let series = EXP_PARTS[terms] as number;
  for (let term = terms - 1; term >= 0; term--) series = series * rest + (EXP_PARTS[term] as number);
  for (let i = 0; i < twos; i++) series *= 2;
  for (let i = 0; i > twos; i--) series *= 0.5;
  return series;
}
