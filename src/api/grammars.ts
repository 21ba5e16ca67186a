import { allowReasoning, type ChatTemplate, type RenderedPrompt } from "../chat/index.ts";
import { NoodleError } from "../common/index.ts";
import { JSON_GRAMMAR } from "../grammar/index.ts";
import type { CompileThread } from "./compile-thread.ts";
import type { ApiLimits } from "./limits.ts";
import type { ChatRequest } from "./schemas/chat.ts";
import type { CompletionRequest } from "./schemas/completions.ts";

interface GrammarContext {
  readonly limits: ApiLimits;
  readonly compiler: CompileThread;
}

type FormatFields = Pick<CompletionRequest, "grammar" | "response_format">;

/**
 * The grammar that a request asks for: its own, or that of its `response_format`.
 *
 * @returns GBNF, or null for free text
 * @throws GRAMMAR_INVALID, LIMIT_EXCEEDED, REQUEST_INVALID when it asks for two
 */
export async function chooseGrammar(context: GrammarContext, body: FormatFields): Promise<string | null> {
  const schema = readFormat(context.limits, body.response_format);
  const { grammar } = body;
  if (!isGiven(grammar)) {
    if (schema === undefined) return null;
    return schema === ANY_OBJECT ? JSON_GRAMMAR : context.compiler.compile({ kind: "schema", schema });
  }
  if (schema !== undefined) {
    throw new NoodleError("REQUEST_INVALID", "grammar and response_format can't be given together", {
      details: { param: "grammar" },
    });
  }
  return context.compiler.compile({ kind: "grammar", grammar });
}

/** The same for a chat, where tools may ask for one too and a model may think before it answers. */
export async function chooseChatGrammar(
  context: GrammarContext,
  template: ChatTemplate,
  rendered: RenderedPrompt,
  body: ChatRequest,
): Promise<string | null> {
  const { reasoning } = template;
  const { startsReasoning } = rendered;
  const isOwn = isGiven(body.grammar);
  if (usesTools(body)) {
    if (isOwn) {
      throw new NoodleError("NOT_SUPPORTED", 'a grammar goes with tools only by tool_choice "none"', {
        details: { param: "grammar" },
      });
    }
    const answerSchema = readFormat(context.limits, body.response_format);
    const options = {
      style: template.toolStyle,
      choice: body.tool_choice ?? "auto",
      reasoning,
      startsReasoning,
      parallel: body.parallel_tool_calls ?? true,
      ...(answerSchema === undefined ? {} : { answerSchema }),
    } as const;
    const tools = cleanTools(body.tools);
    const isFree = options.choice === "auto" && tools.every((tool) => tool.function.strict !== true);
    return isFree && answerSchema === undefined ? null : context.compiler.compile({ kind: "tools", tools, options });
  }
  const grammar = await chooseGrammar(context, body);
  // A grammar of the client's own holds for everything that comes.
  if (grammar === null || isOwn || reasoning === null) return grammar;
  return allowReasoning(grammar, reasoning, startsReasoning);
}

export function usesTools(body: Pick<ChatRequest, "tools" | "tool_choice">): boolean {
  return (body.tools?.length ?? 0) > 0 && body.tool_choice !== "none";
}

/** Tools without the nulls that clients send for what they leave away. */
export function cleanTools(tools: ChatRequest["tools"]): CleanTool[] {
  return (tools ?? []).map(({ function: { name, description, parameters, strict } }) => ({
    type: "function",
    function: {
      name,
      description: description ?? undefined,
      parameters: parameters ?? undefined,
      strict: strict ?? undefined,
    },
  }));
}

interface CleanTool {
  readonly type: "function";
  readonly function: {
    readonly name: string;
    readonly description: string | undefined;
    readonly parameters: Record<string, unknown> | undefined;
    readonly strict: boolean | undefined;
  };
}

/** What `json_object` asks for. */
const ANY_OBJECT = { type: "object" } as const;

/** The schema that the text is held to; undefined for free text. @throws LIMIT_EXCEEDED */
function readFormat(limits: ApiLimits, format: FormatFields["response_format"]): unknown {
  if (format === undefined || format === null || format.type === "text") return undefined;
  const schema = format.type === "json_schema" ? format.json_schema.schema : (format.schema ?? ANY_OBJECT);
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes <= limits.grammarBytes) return schema;
  throw new NoodleError("LIMIT_EXCEEDED", `the schema has ${bytes} bytes, the limit is ${limits.grammarBytes}`, {
    details: { param: "response_format", limit: limits.grammarBytes },
  });
}

function isGiven(grammar: string | null | undefined): grammar is string {
  return grammar !== undefined && grammar !== null && grammar !== "";
}
