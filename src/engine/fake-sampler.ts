import { NoodleError } from "../common/index.ts";
import { drawUnit, mix } from "./fake-arithmetic.ts";
import { parseGrammar } from "../gbnf/index.ts";
import { GrammarFollower, Vocabulary } from "./gbnf/index.ts";
import { checkSampling, PENALTY_LAST_TOKENS } from "./sampling-params.ts";
import type { Slot } from "./slots.ts";
import type { SamplingParams } from "./types.ts";

/** Chooses tokens as the real sampler does, by simpler means: a pure function of the same things. */
export class FakeSampler {
  readonly #nVocab: number;
  readonly #vocabulary: Vocabulary;

  /** @param endToken the token that ends a text; none when undefined */
  constructor(nVocab: number, endToken: number | undefined) {
    this.#nVocab = nVocab;
    // A printable character for each token.
    const pieces = Array.from({ length: nVocab }, (_, id) =>
      id === endToken ? new Uint8Array() : Uint8Array.of(0x20 + (id % 95)),
    );
    this.#vocabulary = new Vocabulary(pieces, endToken === undefined ? [] : [endToken]);
  }

  /** @throws NoodleError `REQUEST_INVALID`, `GRAMMAR_INVALID` */
  prepare(params: SamplingParams): GrammarFollower | null {
    checkSampling(params, this.#nVocab);
    if (params.grammar === undefined || params.grammar === "") return null;
    const grammar = parseGrammar(params.grammar);
    if (this.#vocabulary.endTokens.length === 0)
      throw new NoodleError("GRAMMAR_INVALID", "the fake has no token that ends a text (endToken)");
    return new GrammarFollower(grammar, this.#vocabulary);
  }

  /** The best token, after penalties and, above temperature 0, a disturbance drawn from (seed, position). */
  sample(logits: Float32Array, slot: Slot): number {
    const { sampling, grammar, history, promptTokens } = slot;
    grammar?.follow(history, promptTokens);
    const fitting = grammar?.listFitting() ?? Array.from(logits.keys());
    const scores = this.#score(logits, sampling, history);
    return fitting.reduce((best, id) => ((scores[id] ?? 0) > (scores[best] ?? 0) ? id : best), fitting[0] ?? 0);
  }

  #score(logits: Float32Array, sampling: SamplingParams, history: readonly number[]): Float64Array {
    const { temperature, seed, repeatPenalty, presencePenalty = 0, frequencyPenalty = 0 } = sampling;
    const scores = Float64Array.from(logits, (logit, id) =>
      temperature === 0 ? logit : logit + drawUnit(mix(seed, history.length), id) * temperature,
    );
    for (const [id, bias] of sampling.logitBias ?? []) scores[id] = (scores[id] ?? 0) + bias;
    const lastTokens = sampling.penaltyLastTokens ?? PENALTY_LAST_TOKENS;
    const recent = lastTokens === 0 ? [] : history.slice(-lastTokens);
    for (const id of recent) scores[id] = (scores[id] ?? 0) - frequencyPenalty;
    for (const id of new Set(recent)) scores[id] = (scores[id] ?? 0) - presencePenalty - (repeatPenalty === 1 ? 0 : 1);
    return scores;
  }
}
