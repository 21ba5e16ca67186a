import { NoodleError } from "../common/index.ts";
import { Candidates } from "./candidates.ts";
import { parseGrammar } from "../gbnf/index.ts";
import { GrammarFollower, type Vocabulary } from "./gbnf/index.ts";
import type { Library, Pointer } from "./native/index.ts";
import { checkSampling, PENALTY_LAST_TOKENS } from "./sampling-params.ts";
import type { Slot } from "./slots.ts";
import type { SamplingParams } from "./types.ts";

/** Logits so far below the best have a probability of zero in single precision, which spoils the typical sampler. */
const NEGLIGIBLE_LOGIT = 80;

/**
 * Chooses tokens with the library's samplers. A choice is a pure function of the logits, the parameters, the history
 * and the position: nothing carries over from call to call, so that a replay after a failure chooses alike.
 */
export class Sampler {
  readonly #library: Library;
  readonly #nVocab: number;
  readonly #loadVocabulary: () => Vocabulary;
  #vocabulary: Vocabulary | undefined;
  #candidates: Candidates | undefined;

  /** @param loadVocabulary called when the first grammar comes */
  constructor(library: Library, nVocab: number, loadVocabulary: () => Vocabulary) {
    this.#library = library;
    this.#nVocab = nVocab;
    this.#loadVocabulary = loadVocabulary;
  }

  /**
   * @returns what follows the grammar of a new sequence; null without one
   * @throws NoodleError `REQUEST_INVALID`, `GRAMMAR_INVALID`
   */
  prepare(params: SamplingParams): GrammarFollower | null {
    checkSampling(params, this.#nVocab);
    if (params.grammar === undefined || params.grammar === "") return null;
    const grammar = parseGrammar(params.grammar);
    this.#vocabulary ??= this.#loadVocabulary();
    if (this.#vocabulary.endTokens.length === 0)
      throw new NoodleError("GRAMMAR_INVALID", "the model has no token that ends a text: a grammar could not either");
    return new GrammarFollower(grammar, this.#vocabulary);
  }

  /**
   * @param row row of the last `llama_decode` of `ctx`
   * @param logits f32[nVocab] of that row; borrowed
   */
  sample(ctx: Pointer, row: number, logits: Float32Array, slot: Slot): number {
    const { sampling, history, grammar, promptTokens } = slot;
    const isPlain = (sampling.typicalP ?? 1) === 1 && (sampling.logitBias ?? []).length === 0;
    const token = isPlain
      ? this.#withChain(sampling, history, (chain) => this.#library.calls.llama_sampler_sample(chain, ctx, row))
      : this.#choose(logits, slot, null);
    if (grammar === null) return token;
    grammar.follow(history, promptTokens);
    // The token that is wanted anyway fits mostly: the vocabulary is looked through only where it does not.
    return grammar.fits(token) ? token : this.#choose(logits, slot, grammar.listFitting());
  }

  /** @param fitting tokens to choose from; null = all */
  #choose(logits: Float32Array, { sampling, history }: Slot, fitting: readonly number[] | null): number {
    const bias = new Map(sampling.logitBias);
    const isTypical = sampling.temperature > 0 && (sampling.typicalP ?? 1) < 1;
    const least = isTypical ? this.#findLeast(logits, bias, fitting) : Number.NEGATIVE_INFINITY;
    const ids: number[] = [];
    const values: number[] = [];
    const count = fitting?.length ?? this.#nVocab;
    for (let i = 0; i < count; i++) {
      const id = fitting === null ? i : (fitting[i] as number);
      const value = (logits[id] as number) + (bias.get(id) ?? 0);
      if (value < least || value === Number.NEGATIVE_INFINITY) continue;
      ids.push(id);
      values.push(value);
    }
    // Everything that fits is banned: the first of it then, so that the text goes on to its end.
    if (ids.length === 0) return fitting?.[0] ?? 0;
    this.#candidates ??= new Candidates(this.#nVocab);
    const candidates = this.#candidates;
    return this.#withChain(sampling, history, (chain) => candidates.choose(this.#library, chain, ids, values));
  }

  #findLeast(logits: Float32Array, bias: ReadonlyMap<number, number>, fitting: readonly number[] | null): number {
    let best = Number.NEGATIVE_INFINITY;
    const consider = (id: number): void => {
      best = Math.max(best, (logits[id] as number) + (bias.get(id) ?? 0));
    };
    if (fitting === null) for (let id = 0; id < this.#nVocab; id++) consider(id);
    else for (const id of fitting) consider(id);
    return best - NEGLIGIBLE_LOGIT;
  }

  #withChain<T>(params: SamplingParams, history: readonly number[], use: (chain: Pointer) => T): T {
    const { calls } = this.#library;
    const chain = calls.llama_sampler_chain_init(calls.llama_sampler_chain_default_params());
    const add = (sampler: Pointer): void => calls.llama_sampler_chain_add(chain, sampler);
    try {
      this.#addPenalties(params, history, add);
      const { temperature, topK, topP, minP, typicalP = 1 } = params;
      if (temperature === 0) {
        add(calls.llama_sampler_init_greedy());
      } else {
        if (topK > 0) add(calls.llama_sampler_init_top_k(topK));
        if (typicalP < 1) add(calls.llama_sampler_init_typical(typicalP, 1));
        if (topP < 1) add(calls.llama_sampler_init_top_p(topP, 1));
        if (minP > 0) add(calls.llama_sampler_init_min_p(minP, 1));
        add(calls.llama_sampler_init_temp(temperature));
        add(calls.llama_sampler_init_dist(mixSeed(params.seed, history.length)));
      }
      return use(chain);
    } finally {
      calls.llama_sampler_free(chain);
    }
  }

  #addPenalties(params: SamplingParams, history: readonly number[], add: (sampler: Pointer) => void): void {
    const { repeatPenalty, presencePenalty = 0, frequencyPenalty = 0 } = params;
    const lastTokens = Math.min(params.penaltyLastTokens ?? PENALTY_LAST_TOKENS, history.length);
    if ((repeatPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0) || lastTokens === 0) return;
    const { calls } = this.#library;
    const penalties = calls.llama_sampler_init_penalties(
      this.#nVocab,
      lastTokens,
      repeatPenalty,
      frequencyPenalty,
      presencePenalty,
    );
    add(penalties);
    for (let i = history.length - lastTokens; i < history.length; i++)
      calls.llama_sampler_accept(penalties, history[i] as number);
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
