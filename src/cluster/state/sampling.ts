import { create } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import { GREEDY, type SamplingParams } from "../../engine/index.ts";
import { type Sampling, SamplingSchema } from "../../protocol/index.ts";

/** Sampling as it travels. Optional parameters that are off, or at their default, travel as nothing. */
export function writeSampling(from: SamplingParams): Sampling {
  const bias = from.logitBias ?? [];
  return create(SamplingSchema, {
    temperature: from.temperature,
    topK: from.topK,
    topP: from.topP,
    minP: from.minP,
    repeatPenalty: from.repeatPenalty,
    seed: from.seed,
    typicalP: from.typicalP === 1 ? 0 : (from.typicalP ?? 0),
    presencePenalty: from.presencePenalty ?? 0,
    frequencyPenalty: from.frequencyPenalty ?? 0,
    penaltyLastTokens: from.penaltyLastTokens ?? 0,
    biasTokenIds: bias.map(([tokenId]) => tokenId),
    biasValues: bias.map(([, value]) => value),
    grammar: from.grammar ?? "",
  });
}

/**
 * Greedy where there is none.
 *
 * @throws FRAME_INVALID when a number is none, or biases and tokens are not pairs
 */
export function readSampling(from: Sampling | undefined): SamplingParams {
  if (from === undefined) return GREEDY;
  const { temperature, topK, topP, minP, repeatPenalty, seed } = from;
  const { typicalP, presencePenalty, frequencyPenalty, penaltyLastTokens, grammar } = from;
  const numbers = { temperature, topP, minP, repeatPenalty, typicalP, presencePenalty, frequencyPenalty };
  for (const [name, value] of Object.entries(numbers)) {
    if (!Number.isFinite(value)) throw new NoodleError("FRAME_INVALID", `sampling: ${name} is ${value}`);
  }
  const logitBias = readBias(from);
  return {
    temperature,
    topK,
    topP,
    minP,
    repeatPenalty,
    seed,
    ...(typicalP === 0 ? {} : { typicalP }),
    ...(presencePenalty === 0 ? {} : { presencePenalty }),
    ...(frequencyPenalty === 0 ? {} : { frequencyPenalty }),
    ...(penaltyLastTokens === 0 ? {} : { penaltyLastTokens }),
    ...(logitBias.length === 0 ? {} : { logitBias }),
    ...(grammar === "" ? {} : { grammar }),
  };
}

function readBias({ biasTokenIds, biasValues }: Sampling): readonly (readonly [number, number])[] {
  if (biasTokenIds.length !== biasValues.length) {
    const text = `sampling: ${biasTokenIds.length} biased tokens with ${biasValues.length} biases`;
    throw new NoodleError("FRAME_INVALID", text);
  }
  return biasTokenIds.map((tokenId, index) => {
    const value = biasValues[index] as number;
    // Minus infinity bans the token; plus infinity and NaN mean nothing.
    if (tokenId < 0 || Number.isNaN(value) || value === Number.POSITIVE_INFINITY) {
      throw new NoodleError("FRAME_INVALID", `sampling: a bias of ${value} for token ${tokenId}`);
    }
    return [tokenId, value];
  });
}
