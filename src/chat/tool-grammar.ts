import { NoodleError } from "../common/index.ts";
import { addJsonSchema, checkCompiled, GrammarBuilder, quoteText } from "../grammar/index.ts";
import { addTextUntil } from "./text-until.ts";
import { STYLE_MARKERS } from "./tool-style.ts";
import { checkToolName } from "./prepare-messages.ts";
import type { ReasoningTags, ToolChoice, ToolDefinition, ToolStyle } from "./types.ts";

export interface ToolGrammarOptions {
  readonly style: ToolStyle;
  readonly choice: ToolChoice;
  /** Lets the model think first. @default null */
  readonly reasoning?: ReasoningTags | null;
  /** @default false */
  readonly startsReasoning?: boolean;
  /** More than one call. @default true */
  readonly parallel?: boolean;
  /** JSON schema of an answer without calls, which `auto` leaves open. @default undefined = any text */
  readonly answerSchema?: unknown;
}

/**
 * A GBNF that holds the output to calls of these tools: at least one for `required`, of that tool for a named one. For
 * `auto`, calls or an answer of the schema where there is one; else plain text or calls when a tool is `strict`, and
 * undefined (no grammar) otherwise. Undefined for `none`.
 *
 * @throws NoodleError GRAMMAR_INVALID naming the tool and the path in its schema; REQUEST_INVALID for a name that is none
 */
export function toolGrammar(tools: readonly ToolDefinition[], options: ToolGrammarOptions): string | undefined {
  const { style, choice, reasoning = null, startsReasoning = false, parallel = true, answerSchema } = options;
  const isAuto = choice === "auto";
  const isFree = isAuto && answerSchema === undefined;
  if (choice === "none" || (isFree && !tools.some((tool) => tool.function.strict === true))) return undefined;
  const chosen =
    typeof choice === "string" ? tools : tools.filter((tool) => tool.function.name === choice.function.name);
  if (chosen.length === 0)
    throw new NoodleError("REQUEST_INVALID", "tool_choice: a call is asked for, and there is no such tool");
  const builder = new GrammarBuilder();
  const call = addCall(builder, chosen, style, isAuto);
  const calls = isFree ? addAuto(builder, call, style, parallel) : writeCalls(call, style, parallel);
  const answer = isAuto && !isFree ? ` | ${addJsonSchema(builder, answerSchema, "answer")}` : "";
  const grammar = builder.build(calls + answer);
  const whole = reasoning !== null && !isFree ? allowReasoning(grammar, reasoning, startsReasoning) : grammar;
  checkCompiled(whole);
  return whole;
}

/** The same grammar, with room for reasoning in front: what `response_format` needs with a model that thinks. */
export function allowReasoning(gbnf: string, reasoning: ReasoningTags, startsReasoning: boolean): string {
  const used = new Set(gbnf.match(/[a-zA-Z0-9-]+/g));
  let prefix = "reasoning";
  while ([...used].some((name) => name.startsWith(prefix))) prefix += "-x";
  const answer = `${prefix}-answer`;
  const renamed = gbnf.replaceAll(/"(?:\\.|[^"\\])*"|\[(?:\\.|[^\]\\])*\]|#[^\n\r]*|[a-zA-Z0-9-]+/g, (part) =>
    part === "root" ? answer : part,
  );
  const builder = new GrammarBuilder();
  const thought = addTextUntil(builder, reasoning.close, `[ \\n]{0,4} ${answer}`, prefix, false);
  return builder.build(startsReasoning ? thought : `${quoteText(reasoning.open)} ${thought} | ${answer}`) + renamed;
}

/** One call as a JSON object. */
function addCall(builder: GrammarBuilder, tools: readonly ToolDefinition[], style: ToolStyle, isAuto: boolean): string {
  const key = style === "llama3" ? "parameters" : "arguments";
  const names = tools.map(({ function: { name, parameters, strict } }, index) => {
    checkToolName(name, index);
    // Where the model may choose, only strict tools hold it to their schema.
    const schema = isAuto && strict !== true ? { type: "object" } : { type: "object", ...parameters };
    try {
      return `${quoteText(`${name}", "${key}": `)} ${addJsonSchema(builder, schema, `${name}-arguments`)}`;
    } catch (error) {
      const failure = NoodleError.from(error);
      throw new NoodleError(failure.code, `tool \`${name}\`: ${failure.message}`, {
        cause: error,
        details: { tool: name },
      });
    }
  });
  return builder.add("call", `${quoteText('{"name": "')} (${names.join(" | ")}) "}"`);
}

function writeCalls(call: string, style: ToolStyle, parallel: boolean): string {
  const [open = ""] = STYLE_MARKERS[style];
  if (style === "mistral" || style === "hermes") return `${quoteText(open)} ${writeCallsBehind(call, style, parallel)}`;
  if (style === "llama3" || !parallel) return call;
  return `${call} | "[" ${call} (", " ${call})* "]"`;
}

/** What follows the opening mark of the first call. */
function writeCallsBehind(call: string, style: ToolStyle, parallel: boolean): string {
  const [open = "", close = ""] = STYLE_MARKERS[style];
  if (style === "mistral") return `"[" ${call}${parallel ? ` (", " ${call})*` : ""} "]"`;
  const rest = `"\\n" ${call} ${quoteText(`\n${close}`)}`;
  return `${rest}${parallel ? ` (${quoteText(`\n${open}`)} ${rest})*` : ""}`;
}

/** Plain text until a call begins, and from there on calls only. */
function addAuto(builder: GrammarBuilder, call: string, style: ToolStyle, parallel: boolean): string {
  const [open] = STYLE_MARKERS[style];
  if (open === undefined || style === "llama3")
    return `${writeCalls(call, style, parallel)} | [^{${style === "json" ? "\\[" : ""}] .* | ""`;
  return addTextUntil(builder, open, writeCallsBehind(call, style, parallel), "text", true);
}
