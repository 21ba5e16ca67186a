import type { Library, Pointer } from "./native/index.ts";
import type { SamplingParams } from "./types.ts";

/** Tokens that the repetition penalty looks back over. */
const PENALTY_LAST_TOKENS = 64;

/**
 * Chooses the token of row `row` of the last `llama_decode`. A pure function of the logits, the parameters, the history
 * and the position: nothing carries over from call to call, so that a replay after a failure chooses alike.
 *
 * @param history tokens of the sequence so far, this row's included; its length is the position of the new token.
 */
export function sampleToken(
  library: Library,
  ctx: Pointer,
  row: number,
  nVocab: number,
  params: SamplingParams,
  history: ArrayLike<number>,
): number {
  const { calls } = library;
  const chain = calls.llama_sampler_chain_init(calls.llama_sampler_chain_default_params());
  try {
    if (params.repeatPenalty !== 1) {
      const penalties = calls.llama_sampler_init_penalties(nVocab, PENALTY_LAST_TOKENS, params.repeatPenalty, 0, 0);
      calls.llama_sampler_chain_add(chain, penalties);
      for (let i = Math.max(0, history.length - PENALTY_LAST_TOKENS); i < history.length; i++)
        calls.llama_sampler_accept(penalties, history[i] as number);
    }
    if (params.temperature === 0) {
      calls.llama_sampler_chain_add(chain, calls.llama_sampler_init_greedy());
    } else {
      if (params.topK > 0) calls.llama_sampler_chain_add(chain, calls.llama_sampler_init_top_k(params.topK));
      if (params.topP < 1) calls.llama_sampler_chain_add(chain, calls.llama_sampler_init_top_p(params.topP, 1));
      if (params.minP > 0) calls.llama_sampler_chain_add(chain, calls.llama_sampler_init_min_p(params.minP, 1));
      calls.llama_sampler_chain_add(chain, calls.llama_sampler_init_temp(params.temperature));
      calls.llama_sampler_chain_add(chain, calls.llama_sampler_init_dist(mixSeed(params.seed, history.length)));
    }
    return calls.llama_sampler_sample(chain, ctx, row);
  } finally {
    calls.llama_sampler_free(chain);
  }
}

/** A 32-bit seed for one position: the finaliser of MurmurHash3 over both numbers, so that neighbours share nothing. */
export function mixSeed(seed: number, position: number): number {
  let h = (seed ^ Math.imul(position + 1, 0x9e3779b1)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  h = (h ^ (h >>> 16)) >>> 0;
  // The library reads 0xffffffff as "take a random seed".
  return h === 0xffffffff ? 0 : h;
}
