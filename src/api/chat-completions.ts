import { openChatOutput, type RenderedPrompt } from "../chat/index.ts";
import { NoodleError } from "../common/index.ts";
import { ChatChoice } from "./chat-choice.ts";
import { deliver, type ResponseKind } from "./deliver.ts";
import { chooseChatGrammar, usesTools } from "./grammars.ts";
import type { ModelEntry } from "./model-registry.ts";
import { chooseMaxTokens, requireRoom, tokenizeText } from "./prompts.ts";
import { renderMessages } from "./render-messages.ts";
import { makeGeneration, type RequestContext, requireLogprobRoom } from "./request-context.ts";
import { chooseSampling } from "./sampling.ts";
import type { ChatRequest } from "./schemas/chat.ts";

const CHAT: ResponseKind = { idPrefix: "chatcmpl-", whole: "chat.completion", chunk: "chat.completion.chunk" };

/**
 * POST /v1/chat/completions.
 *
 * @returns the JSON of the response; undefined where it went out as a stream
 */
export async function completeChat(context: RequestContext, body: ChatRequest): Promise<string | undefined> {
  const { limits } = context;
  const entry = context.registry.find(body.model);
  const { model } = entry;
  const topLogprobs = readTopLogprobs(body);
  const rendered = await renderMessages(context, entry, body);
  const grammar = await chooseChatGrammar(context, entry.template, rendered, body);
  const sampling = chooseSampling(model, body, grammar);
  const prompt = await tokenizeRendered(entry, rendered);
  const wanted = body.max_completion_tokens ?? body.max_tokens ?? null;
  const maxTokens = chooseMaxTokens(model, prompt.length, wanted, limits.maxTokens);
  const choices = body.n ?? 1;
  requireLogprobRoom(limits, maxTokens * choices, topLogprobs);
  const parts = { prompt, maxTokens, topLogprobs, promptLogprobs: null };
  const requests = Array.from({ length: choices }, (_, choice) =>
    makeGeneration(context, body, { ...parts, sampling: sampling(choice) }),
  );
  const outputs = requests.map((_, index) => makeChoice(entry, body, rendered, index, topLogprobs !== null));
  return deliver(context, body, CHAT, { model, requests, choices, outputs });
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
  withLogprobs: boolean,
): ChatChoice {
  const { toolStyle, reasoning, visibleTokens } = entry.template;
  const withTools = usesTools(body);
  const output = openChatOutput({
    toolStyle: withTools ? toolStyle : null,
    toolNames: (body.tools ?? []).map((tool) => tool.function.name),
    reasoning,
    startsReasoning: rendered.startsReasoning,
  });
  return new ChatChoice(index, output, entry.texts, { withLogprobs, visibleTokens: new Set(visibleTokens) });
}

/** @throws REQUEST_INVALID for alternatives without log-probabilities */
function readTopLogprobs(body: ChatRequest): number | null {
  if (body.logprobs === true) return body.top_logprobs ?? 0;
  if (typeof body.top_logprobs !== "number" || body.top_logprobs === 0) return null;
  throw new NoodleError("REQUEST_INVALID", "top_logprobs wants logprobs to be true", {
    details: { param: "top_logprobs" },
  });
}
