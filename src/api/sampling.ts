import { randomInt } from "node:crypto";
import { NoodleError } from "../common/index.ts";
import type { SamplingParams } from "../engine/index.ts";
import type { ChatRequest } from "./schemas/chat.ts";
import type { CompletionRequest } from "./schemas/completions.ts";
import type { ServedModel } from "./served-model.ts";

type SamplingFields = Pick<
  CompletionRequest & ChatRequest,
  | "temperature"
  | "top_p"
  | "top_k"
  | "min_p"
  | "typical_p"
  | "repeat_penalty"
  | "presence_penalty"
  | "frequency_penalty"
  | "logit_bias"
  | "seed"
>;

const SEEDS = 2 ** 32;
/** What the API calls a ban. */
const BAN = -100;

/**
 * How tokens are chosen. Choices of one request differ by their seed alone.
 *
 * @param grammar GBNF or null
 * @throws REQUEST_INVALID for a token id that the model does not have
 */
export function chooseSampling(
  model: ServedModel,
  body: SamplingFields,
  grammar: string | null,
): (choice: number) => SamplingParams {
  const temperature = body.temperature ?? 1;
  const seed = body.seed === undefined || body.seed === null ? chooseSeed(temperature) : modulo(body.seed);
  const topK = body.top_k ?? 0;
  const common = {
    temperature,
    topK: Math.max(0, topK),
    topP: body.top_p ?? 1,
    minP: body.min_p ?? 0,
    typicalP: body.typical_p ?? 1,
    repeatPenalty: body.repeat_penalty ?? 1,
    presencePenalty: body.presence_penalty ?? 0,
    frequencyPenalty: body.frequency_penalty ?? 0,
    ...(body.logit_bias === undefined || body.logit_bias === null
      ? {}
      : { logitBias: readBias(model, body.logit_bias) }),
    ...(grammar === null ? {} : { grammar }),
  };
  return (choice) => ({ ...common, seed: modulo(seed + choice) });
}

/** Without a choice there is nothing to be drawn. */
function chooseSeed(temperature: number): number {
  return temperature === 0 ? 0 : randomInt(SEEDS);
}

function modulo(seed: number): number {
  return ((seed % SEEDS) + SEEDS) % SEEDS;
}

function readBias(model: ServedModel, bias: Readonly<Record<string, number>>): (readonly [number, number])[] {
  const { vocabSize } = model.tokenizer;
  return Object.entries(bias).map(([key, value]) => {
    const id = Number(key);
    if (id >= vocabSize) {
      throw new NoodleError("REQUEST_INVALID", `logit_bias: token id ${id} is not in the vocabulary of ${vocabSize}`, {
        details: { param: "logit_bias", limit: vocabSize },
      });
    }
    return [id, value <= BAN ? Number.NEGATIVE_INFINITY : value] as const;
  });
}
