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
  const format = await compileFormat(context, body.response_format);
  const { grammar } = body;
  if (grammar === undefined || grammar === null || grammar === "") return format;
  if (format !== null) {
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
  const grammar = await chooseGrammar(context, body);
  if (usesTools(body)) {
    if (grammar !== null) {
      throw new NoodleError(
        "NOT_SUPPORTED",
        'tools go with a grammar or a response_format only by tool_choice "none"',
        {
          details: { param: "response_format" },
        },
      );
    }
    const options = {
      style: template.toolStyle,
      choice: body.tool_choice ?? "auto",
      reasoning,
      startsReasoning,
      parallel: body.parallel_tool_calls ?? true,
    } as const;
    const tools = cleanTools(body.tools);
    const isFree = options.choice === "auto" && tools.every((tool) => tool.function.strict !== true);
    return isFree ? null : context.compiler.compile({ kind: "tools", tools, options });
  }
  // A grammar of the client's own holds for everything that comes.
  const isOwn = typeof body.grammar === "string" && body.grammar !== "";
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

async function compileFormat(context: GrammarContext, format: FormatFields["response_format"]): Promise<string | null> {
  if (format === undefined || format === null || format.type === "text") return null;
  if (format.type === "json_schema") return compileSchema(context, format.json_schema.schema);
  return format.schema === undefined || format.schema === null ? JSON_GRAMMAR : compileSchema(context, format.schema);
}

function compileSchema({ limits, compiler }: GrammarContext, schema: unknown): Promise<string | null> {
  const bytes = Buffer.byteLength(JSON.stringify(schema));
  if (bytes > limits.grammarBytes) {
    throw new NoodleError("LIMIT_EXCEEDED", `the schema has ${bytes} bytes, the limit is ${limits.grammarBytes}`, {
      details: { param: "response_format", limit: limits.grammarBytes },
    });
  }
  return compiler.compile({ kind: "schema", schema });
}
