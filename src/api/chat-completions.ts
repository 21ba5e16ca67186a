import { type ChatMessage, openChatOutput, type RenderedPrompt, type RenderRequest } from "../chat/index.ts";
import { must, NoodleError } from "../common/index.ts";
import { ChatChoice } from "./chat-choice.ts";
import { runGenerations } from "./generations.ts";
import { chooseChatGrammar, cleanTools, usesTools } from "./grammars.ts";
import type { ModelEntry } from "./model-registry.ts";
import { chooseMaxTokens, tokenizeText } from "./prompts.ts";
import {
  makeGeneration,
  makeHead,
  type RequestContext,
  requireLogprobRoom,
  wantsUsageChunk,
  writeResponse,
} from "./request-context.ts";
import { chooseSampling } from "./sampling.ts";
import type { ChatMessageBody, ChatRequest, TemplateRequest } from "./schemas/chat.ts";
import { describeTimings, describeUsage, type Finished } from "./timings.ts";

/**
 * POST /v1/chat/completions.
 *
 * @returns the JSON of the response; undefined where it went out as a stream
 */
export async function completeChat(context: RequestContext, body: ChatRequest): Promise<string | undefined> {
  const { limits, signal } = context;
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
  const run = { model, requests, choices, atOnce: limits.generationsAtOnce, signal, outputs };
  return body.stream === true ? streamChat(context, body, run) : answerChat(body, run);
}

/** Characters of messages and tools that are rendered at once; it takes a few ten ms at worst. */
const SYNC_RENDER_CHARS = 32 * 1024;

/** The prompt of a request's messages. @throws TEMPLATE_FAILED, REQUEST_INVALID, NOT_SUPPORTED */
export async function renderMessages(
  context: RequestContext,
  entry: ModelEntry,
  body: TemplateRequest,
): Promise<RenderedPrompt> {
  const tools = cleanTools(body.tools);
  const request: RenderRequest = {
    messages: body.messages.map(cleanMessage),
    ...(tools.length === 0 ? {} : { tools, toolChoice: body.tool_choice ?? "auto" }),
    addGenerationPrompt: body.add_generation_prompt ?? true,
    nowMs: Date.now(),
  };
  const { template } = entry;
  const isShort = JSON.stringify(request).length <= SYNC_RENDER_CHARS;
  return isShort ? template.render(request) : context.compiler.render(entry.describeRender(request));
}

/** Special tokens of the template are read as such; what came from outside stays text. */
async function tokenizeRendered(entry: ModelEntry, rendered: RenderedPrompt): Promise<readonly number[]> {
  const ids: number[] = [];
  let addSpecial = !rendered.hasBos;
  for (const { text, special } of rendered.segments) {
    for (const id of await tokenizeText(entry.model, text, { addSpecial, parseSpecial: special })) ids.push(id);
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

type ChatRun = Omit<Parameters<typeof runGenerations>[0], "onEvent"> & { readonly outputs: readonly ChatChoice[] };

async function answerChat(body: ChatRequest, run: ChatRun): Promise<string> {
  const { outputs } = run;
  const head = makeHead("chatcmpl-", "chat.completion", run.model.id);
  const finished = await runGenerations({
    ...run,
    onEvent: (choice, event) => void must(outputs[choice], "choice").take(event),
  });
  const choices = outputs.map((output) => output.message());
  return writeResponse(head, choices, { usage: describeUsage(finished, run.choices), ...timingsOf(body, finished) });
}

async function streamChat(context: RequestContext, body: ChatRequest, run: ChatRun): Promise<undefined> {
  const { outputs } = run;
  const head = makeHead("chatcmpl-", "chat.completion.chunk", run.model.id);
  const withUsage = wantsUsageChunk(body);
  const noUsage = withUsage ? { usage: null } : {};
  const stream = context.startStream();
  const promptTokens = run.requests.map(({ prompt }) => prompt.length);
  const finished = await runGenerations({
    ...run,
    onEvent: async (choice, event) => {
      const output = must(outputs[choice], "choice");
      for (const piece of output.take(event)) {
        const ended =
          piece.finish_reason === null || event.type !== "done"
            ? {}
            : timingsOf(body, [{ promptTokens: promptTokens[choice] ?? 0, done: event }]);
        await stream.send({ ...head, choices: [piece], ...noUsage, ...ended });
      }
    },
  });
  if (withUsage) await stream.send({ ...head, choices: [], usage: describeUsage(finished, run.choices) });
  await stream.send("[DONE]");
  stream.end();
}

function timingsOf(body: ChatRequest, finished: readonly Finished[]): object {
  return body.timings === false ? {} : { timings: describeTimings(finished) };
}

/** @throws REQUEST_INVALID for alternatives without log-probabilities */
function readTopLogprobs(body: ChatRequest): number | null {
  if (body.logprobs === true) return body.top_logprobs ?? 0;
  if (typeof body.top_logprobs !== "number" || body.top_logprobs === 0) return null;
  throw new NoodleError("REQUEST_INVALID", "top_logprobs wants logprobs to be true", {
    details: { param: "top_logprobs" },
  });
}

/** A message without the nulls that clients send for what they leave away. */
function cleanMessage(message: ChatMessageBody): ChatMessage {
  const { role, content, name, tool_calls: calls, tool_call_id: callId, reasoning_content: reasoning } = message;
  return {
    role,
    content: Array.isArray(content) ? content.map(({ type, text }) => ({ type, text: text ?? undefined })) : content,
    name: name ?? undefined,
    tool_calls: calls ?? undefined,
    tool_call_id: callId ?? undefined,
    reasoning_content: reasoning ?? undefined,
  };
}
