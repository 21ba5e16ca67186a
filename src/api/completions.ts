import type { Endpoint } from "./answer-generation.ts";
import { must, NoodleError, sum } from "../common/index.ts";
import { CompletionChoice } from "./completion-choice.ts";
import type { Preparation } from "./deliver.ts";
import { chooseGrammar } from "./grammars.ts";
import type { ModelEntry } from "./model-registry.ts";
import { chooseMaxTokens, type ReadPrompt, readPrompts } from "./prompts.ts";
import { makeGeneration, requireLogprobRoom, type WorkContext } from "./request-context.ts";
import { chooseSampling } from "./sampling.ts";
import type { CompletionRequest } from "./schemas/completions.ts";

/** As OpenAI's. */
const DEFAULT_MAX_TOKENS = 16;

/** POST /v1/completions. */
export const COMPLETION: Endpoint<CompletionRequest> = {
  path: "/v1/completions",
  kind: { idPrefix: "cmpl-", whole: "text_completion", chunk: "text_completion" },
  prepare: prepareCompletion,
};

async function prepareCompletion(context: WorkContext, body: CompletionRequest): Promise<Preparation> {
  requireSupported(body);
  const entry = context.registry.find(body.model);
  const { model } = entry;
  const options = { addSpecial: body.add_special_tokens ?? true, parseSpecial: body.parse_special ?? true };
  const prompts = await readPrompts(model, body.prompt, options, context.limits.prompts);
  const choices = body.n ?? 1;
  const echo = body.echo ?? false;
  const topLogprobs = body.logprobs ?? null;
  const sampling = chooseSampling(model, body, await chooseGrammar(context, body));
  const wanted = { tokens: body.max_tokens ?? null, param: "max_tokens" };
  const requests = prompts.flatMap(({ tokenIds }) => {
    const maxTokens = chooseMaxTokens(model, tokenIds.length, wanted, DEFAULT_MAX_TOKENS);
    const parts = { prompt: tokenIds, maxTokens, topLogprobs, promptLogprobs: echo ? topLogprobs : null };
    return Array.from({ length: choices }, (_, choice) =>
      makeGeneration(context, body, { ...parts, sampling: sampling(choice) }),
    );
  });
  const tokens = requests.map(({ prompt, maxTokens }) => maxTokens + (echo ? prompt.length : 0));
  requireLogprobRoom(context.limits, sum(tokens), topLogprobs);
  const texts = await Promise.all(prompts.map(async (prompt) => (echo ? readText(entry, prompt) : "")));
  const outputs = requests.map((_, index) => {
    const place = Math.floor(index / choices);
    const start = { tokenIds: must(prompts[place], "prompt").tokenIds, text: texts[place] ?? "", echo };
    const shape = { withLogprobs: topLogprobs !== null, isStreamed: body.stream === true };
    return new CompletionChoice(entry.texts, index, start, shape);
  });
  return { model, requests, choices, outputs };
}

async function readText(entry: ModelEntry, prompt: ReadPrompt): Promise<string> {
  return prompt.text ?? (await entry.texts.detokenize(prompt.tokenIds, false));
}

/** @throws NOT_SUPPORTED */
function requireSupported(body: CompletionRequest): void {
  const refuse = (param: string, why: string): never => {
    throw new NoodleError("NOT_SUPPORTED", why, { details: { param } });
  };
  if ((body.suffix ?? "") !== "") refuse("suffix", "suffix: text can't be filled in before a suffix");
  if ((body.best_of ?? 1) !== 1) refuse("best_of", `best_of is ${body.best_of}, only 1 is there: use n`);
}
