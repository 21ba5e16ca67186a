import type { ChatMessage, RenderedPrompt, RenderRequest } from "../chat/index.ts";
import { NoodleError } from "../common/index.ts";
import { cleanTools } from "./grammars.ts";
import type { ModelEntry } from "./model-registry.ts";
import type { WorkContext } from "./request-context.ts";
import type { ChatMessageBody, TemplateRequest } from "./schemas/chat.ts";

/** What is rendered at once, by a template that has always been quick. */
const SYNC_RENDER = { messages: 8, chars: 8 * 1024 } as const;

/** The prompt of a request's messages. @throws TEMPLATE_FAILED, REQUEST_INVALID, NOT_SUPPORTED */
export async function renderMessages(
  context: WorkContext,
  entry: ModelEntry,
  body: TemplateRequest,
): Promise<RenderedPrompt> {
  const tools = cleanTools(body.tools);
  const messages = body.messages.map(cleanMessage);
  const request: RenderRequest = {
    messages,
    ...(tools.length === 0 ? {} : { tools, toolChoice: body.tool_choice ?? "auto" }),
    addGenerationPrompt: body.add_generation_prompt ?? true,
    nowMs: Date.now(),
  };
  try {
    return await renderRequest(context, entry, request);
  } catch (thrown) {
    throw nameMessages(NoodleError.from(thrown));
  }
}

async function renderRequest(context: WorkContext, entry: ModelEntry, request: RenderRequest): Promise<RenderedPrompt> {
  const isShort =
    request.messages.length <= SYNC_RENDER.messages && JSON.stringify(request).length <= SYNC_RENDER.chars;
  return isShort && entry.isQuick ? entry.render(request) : context.renderer.render(entry.describeRender(request));
}

/** What a template refuses is refused of the messages. */
function nameMessages(error: NoodleError): NoodleError {
  if (error.code !== "TEMPLATE_FAILED" || typeof error.details["param"] === "string") return error;
  const details = { ...error.details, param: "messages" };
  return new NoodleError(error.code, error.message, { details, cause: error });
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
