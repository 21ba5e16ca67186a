/**
 * Logarithm, exponential and square root by additions, multiplications and divisions alone. Those round the same way on
 * every machine; what `Math.log` and `Math.exp` give is left to the engine, and one other last bit would make another
 * event log.
 */

const LN2_HIGH = 0.6931471803691238;
/** ln 2 - LN2_HIGH: a multiple of LN2_HIGH by a small whole number is exact. */
const LN2_LOW = 1.9082149292705877e-10;
const LOG_TERMS = 12;
const EXP_TERMS = 14;

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
  for (let term = LOG_TERMS; term >= 1; term--) series = (series + 1 / (2 * term + 1)) * square;
  return exponent * LN2_HIGH + (2 * s + 2 * s * series + exponent * LN2_LOW);
}

/** e to the power of x. @param x between -700 and 700 */
export function expOf(x: number): number {
  const twos = Math.round(x / (LN2_HIGH + LN2_LOW));
  const rest = x - twos * LN2_HIGH - twos * LN2_LOW;
  let series = 1;
  for (let term = EXP_TERMS; term >= 1; term--) series = 1 + (series * rest) / term;
  for (let i = 0; i < twos; i++) series *= 2;
  for (let i = 0; i > twos; i--) series *= 0.5;
  return series;
}

/** @param x a positive, finite number; within a few units of the last place */
export function sqrtOf(x: number): number {
  let root = expOf(0.5 * logOf(x));
  for (let step = 0; step < 2; step++) root = 0.5 * (root + x / root);
  return root;
}
