import { NoodleError } from "../common/index.ts";
import type { SpecialMarks } from "./special-text.ts";
import type { ChatMessage, ReasoningTags, ToolDefinition } from "./types.ts";

/** What a template expects of its messages, found by trying it. */
export interface TemplateHabits {
  /** It writes a system message, or takes it in otherwise. */
  readonly takesSystem: boolean;
  /** It knows the role `developer`. */
  readonly knowsDeveloper: boolean;
  readonly describesTools: boolean;
  /** Content as a list of parts. */
  readonly wantsParts: boolean;
  /** Arguments of calls as text. */
  readonly wantsTextArguments: boolean;
  readonly reasoning: ReasoningTags | null;
}

/** A message as templates know it. */
export interface TemplateMessage {
  role: string;
  content: string | null | readonly { readonly type: "text"; readonly text: string }[];
  [field: string]: unknown;
}

const ROLES = new Set(["system", "developer", "user", "assistant", "tool"]);
const TOOL_NAME = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * Messages in the form that the template takes, with stand-ins for control tokens.
 *
 * @throws NoodleError REQUEST_INVALID, NOT_SUPPORTED naming the message
 */
export function prepareMessages(
  messages: readonly ChatMessage[],
  habits: TemplateHabits,
  marks: SpecialMarks,
  systemText: string,
): TemplateMessage[] {
  const prepared: TemplateMessage[] = systemText === "" ? [] : [{ role: "system", content: systemText }];
  for (const [index, message] of messages.entries()) {
    const path = `messages[${index}]`;
    if (!ROLES.has(message.role))
      throw new NoodleError("REQUEST_INVALID", `${path}.role: \`${message.role}\` is none of ${[...ROLES].join(", ")}`);
    const one = prepareMessage(message, habits, marks, path);
    const last = prepared.at(-1);
    // Templates know one system message, at the beginning.
    if (one.role === "system" && last?.role === "system") last.content = joinTexts(last.content, one.content);
    else if (one.role === "user" && message.role === "tool" && last?.role === "user" && last["isTool"] === true)
      last.content = joinTexts(last.content, one.content);
    else prepared.push(message.role === "tool" ? { ...one, isTool: true } : one);
  }
  if (!habits.takesSystem) moveSystem(prepared);
  for (const message of prepared) {
    delete message["isTool"];
    if (habits.wantsParts && typeof message.content === "string")
      message.content = [{ type: "text", text: message.content }];
  }
  return prepared;
}

function prepareMessage(
  message: ChatMessage,
  habits: TemplateHabits,
  marks: SpecialMarks,
  path: string,
): TemplateMessage {
  const { role } = message;
  // What a model has written before may hold its own tags.
  const ownTags =
    role === "assistant" && habits.reasoning !== null ? [habits.reasoning.open, habits.reasoning.close] : [];
  const text = readContent(message, path);
  const content = text === null ? null : marks.mark(text, ownTags);
  const name = message.name === undefined ? {} : { name: marks.markName(message.name) };
  if (role === "developer")
    return { role: habits.knowsDeveloper ? "developer" : "system", content: content ?? "", ...name };
  if (role === "tool") {
    if (!habits.describesTools) return { role: "user", content: `<tool_response>\n${content ?? ""}\n</tool_response>` };
    const id = message.tool_call_id === undefined ? {} : { tool_call_id: marks.mark(message.tool_call_id) };
    return { role, content: content ?? "", ...id, ...name };
  }
  if (role !== "assistant") return { role, content: content ?? "", ...name };
  const thought = message.reasoning_content;
  const reasoning = typeof thought === "string" ? { reasoning_content: marks.mark(thought) } : {};
  const calls = message.tool_calls ?? [];
  if (calls.length === 0) return { role, content: content ?? "", ...name, ...reasoning };
  const prepared = calls.map((call, index) => prepareCall(call, habits, marks, `${path}.tool_calls[${index}]`));
  if (habits.describesTools) return { role, content, ...name, ...reasoning, tool_calls: prepared };
  const texts = prepared.map((call) => `<tool_call>\n${JSON.stringify(call.function)}\n</tool_call>`);
  return { role, content: [...(content ? [content] : []), ...texts].join("\n"), ...name, ...reasoning };
}

function prepareCall(
  call: NonNullable<ChatMessage["tool_calls"]>[number],
  habits: TemplateHabits,
  marks: SpecialMarks,
  path: string,
): { id?: string; type: "function"; function: { name: string; arguments: unknown } } {
  const { name } = call.function;
  if (!TOOL_NAME.test(name))
    throw new NoodleError("REQUEST_INVALID", `${path}.function.name: not 1 to 64 of A-Z a-z 0-9 _ -`);
  const text = call.function.arguments;
  let args: unknown;
  try {
    args = text.trim() === "" ? {} : JSON.parse(text);
  } catch {
    throw new NoodleError("REQUEST_INVALID", `${path}.function.arguments: not a JSON document`);
  }
  return {
    ...(call.id === undefined ? {} : { id: marks.mark(call.id) }),
    type: "function",
    function: {
      name: marks.markName(name),
      arguments: habits.wantsTextArguments && habits.describesTools ? marks.mark(text) : markValue(args, marks),
    },
  };
}

/** Tools as the template lists them. @throws NoodleError REQUEST_INVALID */
export function prepareTools(tools: readonly ToolDefinition[], marks: SpecialMarks): unknown[] {
  return tools.map((tool, index) => {
    const { name, description, parameters } = tool.function;
    checkToolName(name, index);
    return {
      type: "function",
      function: {
        name: marks.markName(name),
        description: marks.mark(description ?? ""),
        parameters: markValue(parameters ?? { type: "object", properties: {} }, marks),
      },
    };
  });
}

/** @throws NoodleError REQUEST_INVALID */
export function checkToolName(name: string, index: number): void {
  if (!TOOL_NAME.test(name))
    throw new NoodleError("REQUEST_INVALID", `tools[${index}].function.name: not 1 to 64 of A-Z a-z 0-9 _ -`);
}

/** A JSON value from outside; names of members that could be anything are marked as names. */
export function markValue(value: unknown, marks: SpecialMarks, areNames = false): unknown {
  if (typeof value === "string") return marks.mark(value);
  if (Array.isArray(value)) return value.map((item) => markValue(item, marks));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      areNames ? marks.markName(key) : marks.mark(key),
      markValue(item, marks, key === "properties"),
    ]),
  );
}

function readContent(message: ChatMessage, path: string): string | null {
  const { content } = message;
  if (content === null || content === undefined) return null;
  if (typeof content === "string") return content;
  return content
    .map((part, index) => {
      if (part.type === "text" && typeof part.text === "string") return part.text;
      throw new NoodleError("NOT_SUPPORTED", `${path}.content[${index}]: parts of type \`${part.type}\` can't be read`);
    })
    .join("\n");
}

/** For templates that refuse system messages: their text goes in front of what the user says first. */
function moveSystem(messages: TemplateMessage[]): void {
  for (let index = messages.length - 1; index >= 0; index--) {
    const message = messages[index];
    if (message?.role !== "system") continue;
    const next = messages[index + 1];
    if (next?.role === "user") {
      next.content = joinTexts(message.content, next.content);
      messages.splice(index, 1);
    } else message.role = "user";
  }
}

function joinTexts(first: TemplateMessage["content"], second: TemplateMessage["content"]): string {
  const texts = [first, second].flatMap((text) => (typeof text === "string" && text !== "" ? [text] : []));
  return texts.join("\n\n");
}
