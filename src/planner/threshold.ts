/** What a test of a limit found: a plan and its real period, which is at most the limit. */
export interface Hit<T> {
  readonly plan: T;
  readonly valueMs: number;
}

export interface ThresholdResult<T> {
  readonly best: Hit<T>;
  /** No plan has a smaller period. */
  readonly boundMs: number;
}

/** Relative width at which a range of real numbers counts as one. */
const RESOLUTION = 1e-11;

/**
 * Smallest limit for which `test` finds something, by halving: among the listed candidates, or, without them, in the
 * range of real numbers between `lowMs` (nothing can be better) and the value of `known`.
 *
 * @param gallop begin at the lowest candidate with growing strides: for a `lowMs` that is nearly always the answer
 * @param onStep is called after every test with what is known; it may throw to stop
 */
export function minimizeThreshold<T>(
  known: Hit<T>,
  lowMs: number,
  candidates: Float64Array | null,
  gallop: boolean,
  test: (limitMs: number) => Hit<T> | null,
  onStep: (state: ThresholdResult<T>) => void,
): ThresholdResult<T> {
  let best = known;
  let boundMs = Math.min(lowMs, best.valueMs);
  if (candidates !== null) {
    let low = 0;
    // The first candidate that is not below the best known value: it needs no test.
    let high = lowerIndex(candidates, best.valueMs);
    let stride = gallop ? 1 : high - low;
    while (low < high) {
      const middle = Math.min(low + stride - 1, (low + high) >>> 1);
      const hit = test(candidates[middle] as number);
      if (hit === null) {
        stride *= 2;
        low = middle + 1;
        boundMs = Math.min(best.valueMs, candidates[low] ?? best.valueMs);
      } else {
        if (hit.valueMs < best.valueMs) best = hit;
        high = Math.min(middle, lowerIndex(candidates, best.valueMs));
      }
      onStep({ best, boundMs });
    }
    return { best, boundMs: best.valueMs };
  }
  while (best.valueMs - boundMs > RESOLUTION * best.valueMs) {
    const middle = boundMs + (best.valueMs - boundMs) / 2;
    const hit = test(middle);
    if (hit === null) boundMs = middle;
    else best = hit;
    onStep({ best, boundMs });
  }
  return { best, boundMs };
}

/** Index of the first value that is at least `value`, rounding of sums aside. */
function lowerIndex(values: Float64Array, value: number): number {
  const wanted = value * (1 - 1e-13);
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((values[middle] as number) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}
