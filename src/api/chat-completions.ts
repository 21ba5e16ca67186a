import type { Endpoint } from "./answer-generation.ts";
import { openChatOutput, type RenderedPrompt } from "../chat/index.ts";
import { NoodleError } from "../common/index.ts";
import { ChatChoice, type ChatChoiceOptions } from "./chat-choice.ts";
import type { Preparation } from "./deliver.ts";
import { chooseChatGrammar, usesTools } from "./grammars.ts";
import type { ModelEntry } from "./model-registry.ts";
import { chooseMaxTokens, requireRoom, tokenizeText, type WantedTokens } from "./prompts.ts";
import { renderMessages } from "./render-messages.ts";
import { makeGeneration, requireLogprobRoom, type WorkContext } from "./request-context.ts";
import { chooseSampling } from "./sampling.ts";
import type { ChatRequest } from "./schemas/chat.ts";

/** POST /v1/chat/completions. */
export const CHAT: Endpoint<ChatRequest> = {
  path: "/v1/chat/completions",
  kind: { idPrefix: "chatcmpl-", whole: "chat.completion", chunk: "chat.completion.chunk" },
  prepare: prepareChat,
};

async function prepareChat(context: WorkContext, body: ChatRequest, id: string): Promise<Preparation> {
  const { limits } = context;
  const entry = context.registry.find(body.model);
  const { model } = entry;
  const topLogprobs = readTopLogprobs(body);
  const rendered = await renderMessages(context, entry, body);
  const grammar = await chooseChatGrammar(context, entry.template, rendered, body);
  const sampling = chooseSampling(model, body, grammar);
  const prompt = await tokenizeRendered(entry, rendered);
  const maxTokens = chooseMaxTokens(model, prompt.length, readWanted(body), limits.maxTokens);
  const choices = body.n ?? 1;
  requireLogprobRoom(limits, maxTokens * choices, topLogprobs);
  const parts = { prompt, maxTokens, topLogprobs, promptLogprobs: null };
  const requests = Array.from({ length: choices }, (_, choice) =>
    makeGeneration(context, body, { ...parts, sampling: sampling(choice) }),
  );
  const withLogprobs = topLogprobs !== null;
  const outputs = requests.map((_, index) =>
    makeChoice(entry, body, rendered, index, { withLogprobs, generationId: id }),
  );
  return { model, requests, choices, outputs };
}

function readWanted({ max_completion_tokens: ours, max_tokens: former }: ChatRequest): WantedTokens {
  if (typeof ours === "number") return { tokens: ours, param: "max_completion_tokens" };
  return { tokens: former ?? null, param: "max_tokens" };
}

/** Special tokens of the template are read as such; what came from outside stays text. */
async function tokenizeRendered(entry: ModelEntry, rendered: RenderedPrompt): Promise<readonly number[]> {
  const ids: number[] = [];
  let addSpecial = !rendered.hasBos;
  for (const { text, special } of rendered.segments) {
    const read = await tokenizeText(entry.model, text, { addSpecial, parseSpecial: special });
    // Thousands of pieces may come behind, and what is too long is not put together first.
    requireRoom(entry.model, Math.max(1, ids.length + read.length));
    for (const id of read) ids.push(id);
    addSpecial = false;
  }
  if (ids.length === 0) throw new NoodleError("PROMPT_EMPTY", "the chat template made no tokens of the messages");
  return ids;
}

function makeChoice(
  entry: ModelEntry,
  body: ChatRequest,
  rendered: RenderedPrompt,
  index: number,
  options: Omit<ChatChoiceOptions, "visibleTokens">,
): ChatChoice {
  const { toolStyle, reasoning, visibleTokens } = entry.template;
  const withTools = usesTools(body);
  const output = openChatOutput({
    toolStyle: withTools ? toolStyle : null,
    toolNames: (body.tools ?? []).map((tool) => tool.function.name),
    reasoning,
    startsReasoning: rendered.startsReasoning,
  });
  return new ChatChoice(index, output, entry.texts, { ...options, visibleTokens: new Set(visibleTokens) });
}

/** @throws REQUEST_INVALID for alternatives without log-probabilities */
function readTopLogprobs(body: ChatRequest): number | null {
  if (body.logprobs === true) return body.top_logprobs ?? 0;
  if (typeof body.top_logprobs !== "number" || body.top_logprobs === 0) return null;
  throw new NoodleError("REQUEST_INVALID", "top_logprobs wants logprobs to be true", {
    details: { param: "top_logprobs" },
  });
}
