import type { RowLogprobs } from "./types.ts";

/** Most alternatives that a row's log-probabilities are given for. */
export const MAX_TOP_LOGPROBS = 100;

/**
 * Log-softmax of one token and of the likeliest ones, natural logarithm, summed in double precision. One pass finds the
 * likeliest: the vocabulary is not sorted.
 *
 * @param logits f32[nVocab], finite; borrowed
 * @param top how many of the likeliest, best first; of equal ones the smaller token id goes first
 */
export function readLogprobs(
  logits: Float32Array,
  tokenId: number,
  top: number,
): Pick<RowLogprobs, "tokenId" | "logprob" | "top"> {
  const best = pickLargest(logits, Math.max(1, top));
  const largest = logits[best[0] as number] as number;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - largest);
  const logSum = Math.log(sum);
  const logprobOf = (id: number): number => (logits[id] as number) - largest - logSum;
  return {
    tokenId,
    logprob: logprobOf(tokenId),
    top: best.slice(0, top).map((id) => ({ tokenId: id, logprob: logprobOf(id) })),
  };
}

/** Indices of the `count` largest values, largest first. */
function pickLargest(values: Float32Array, count: number): readonly number[] {
  const best: number[] = [];
  let least = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (best.length >= count && value <= least) continue;
    let at = best.length;
    while (at > 0 && (values[best[at - 1] as number] as number) < value) at--;
    best.splice(at, 0, i);
    if (best.length > count) best.pop();
    least = values[best.at(-1) as number] as number;
  }
  return best;
}
