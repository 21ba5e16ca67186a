import { NoodleError } from "../common/index.ts";
import type { SamplingParams } from "./types.ts";

/** Tokens that the penalties look back over where nothing is said. */
export const PENALTY_LAST_TOKENS = 64;
/** Limits of sampling parameters. */
export const SAMPLING_LIMITS = { logitBias: 1024, penaltyLastTokens: 65_536 } as const;

/**
 * Refuses values that the samplers make nothing of, or end the process on.
 *
 * @param nVocab tokens of the vocabulary
 * @throws NoodleError `REQUEST_INVALID` with the name, the value and the limit
 */
export function checkSampling(params: SamplingParams, nVocab: number): void {
  const within: readonly (readonly [string, number, number, number])[] = [
    ["temperature", params.temperature, 0, 100],
    ["topK", params.topK, 0, 2 ** 31 - 1],
    ["topP", params.topP, 0, 1],
    ["minP", params.minP, 0, 1],
    ["typicalP", params.typicalP ?? 1, 0, 1],
    ["repeatPenalty", params.repeatPenalty, 0.01, 100],
    ["presencePenalty", params.presencePenalty ?? 0, -100, 100],
    ["frequencyPenalty", params.frequencyPenalty ?? 0, -100, 100],
    ["penaltyLastTokens", params.penaltyLastTokens ?? 0, 0, SAMPLING_LIMITS.penaltyLastTokens],
  ];
  for (const [name, value, least, most] of within) {
    if (!(value >= least && value <= most)) throw invalid(`${name} is ${value}, it must be ${least}..${most}`);
  }
  for (const name of ["topK", "penaltyLastTokens"] as const) {
    if (!Number.isInteger(params[name] ?? 0)) throw invalid(`${name} is ${params[name]}, it must be a whole number`);
  }
  checkLogitBias(params.logitBias ?? [], nVocab);
}

function checkLogitBias(bias: readonly (readonly [number, number])[], nVocab: number): void {
  if (bias.length > SAMPLING_LIMITS.logitBias)
    throw invalid(`logitBias has ${bias.length} entries, the limit is ${SAMPLING_LIMITS.logitBias}`);
  const banned = new Set<number>();
  for (const [token, value] of bias) {
    if (!Number.isInteger(token) || token < 0 || token >= nVocab)
      throw invalid(`logitBias names token ${token}, the vocabulary has 0..${nVocab - 1}`);
    if (Number.isNaN(value) || value > 1e6 || (value < -1e6 && value !== Number.NEGATIVE_INFINITY))
      throw invalid(`logitBias of token ${token} is ${value}, it must be -1e6..1e6, or -Infinity`);
    if (value === Number.NEGATIVE_INFINITY) banned.add(token);
  }
  if (banned.size >= nVocab) throw invalid("logitBias bans every token");
}

function invalid(message: string): NoodleError {
  return new NoodleError("REQUEST_INVALID", message);
}
