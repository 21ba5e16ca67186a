import { must } from "../common/index.ts";

/** One observation: what it cost, and how much it had of each thing that costs. */
export interface Observation {
  readonly ms: number;
  readonly amounts: readonly number[];
}

const ROUNDS = 12;
const SWEEPS = 200;
/** A relative error of less than this counts as one of this: nothing is measured closer. */
const LEAST_ERROR = 0.01;

/**
 * Prices of the amounts such that the sums come near the times: least mean absolute relative error, no price below its
 * floor (iteratively reweighted least squares, one price at a time).
 */
export function fitPrices(observations: readonly Observation[], floors: readonly number[]): number[] {
  // Each amount in units of its own mean share, so that all prices are of one size.
  const scales = floors.map((_, column) => {
    const shares = observations.map(({ ms, amounts }) => (amounts[column] ?? 0) / ms);
    return Math.max(...shares, 0);
  });
  const lines = observations.map(({ ms, amounts }) =>
    amounts.map((amount, column) => {
      const scale = must(scales[column], "scale");
      return scale === 0 ? 0 : amount / (ms * scale);
    }),
  );
  const least = floors.map((floor, column) => floor * must(scales[column], "scale"));
  const prices = [...least];
  let weights = lines.map(() => 1);
  for (let round = 0; round < ROUNDS; round++) {
    sweep(lines, weights, least, prices);
    weights = lines.map((line) => 1 / Math.max(Math.abs(predict(line, prices) - 1), LEAST_ERROR));
  }
  return prices.map((price, column) => {
    const scale = must(scales[column], "scale");
    return scale === 0 ? must(floors[column], "floor") : price / scale;
  });
}

/** Weighted least squares by coordinates: convex, so it comes to the least. */
function sweep(
  lines: readonly (readonly number[])[],
  weights: readonly number[],
  least: readonly number[],
  prices: number[],
): void {
  const size = prices.length;
  const products = Array.from({ length: size }, (_, a) =>
    Array.from({ length: size }, (_, b) =>
      lines.reduce((sum, line, index) => sum + (weights[index] ?? 0) * (line[a] ?? 0) * (line[b] ?? 0), 0),
    ),
  );
  const targets = prices.map((_, a) =>
    lines.reduce((sum, line, index) => sum + (weights[index] ?? 0) * (line[a] ?? 0), 0),
  );
  for (let turn = 0; turn < SWEEPS; turn++) {
    for (let a = 0; a < size; a++) {
      const own = products[a]?.[a] ?? 0;
      if (own === 0) continue;
      let others = 0;
      for (let b = 0; b < size; b++) if (b !== a) others += (products[a]?.[b] ?? 0) * (prices[b] ?? 0);
      prices[a] = Math.max(least[a] ?? 0, ((targets[a] ?? 0) - others) / own);
    }
  }
}

function predict(line: readonly number[], prices: readonly number[]): number {
  return line.reduce((sum, amount, column) => sum + amount * (prices[column] ?? 0), 0);
}
