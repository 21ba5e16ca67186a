import { NoodleError } from "../common/index.ts";
import { describeTools } from "./describe-tools.ts";
import { markValue, prepareMessages, prepareTools, type TemplateHabits } from "./prepare-messages.ts";
import { SpecialText } from "./special-text.ts";
import { TEMPLATE_GLOBALS, TemplateProgram } from "./template-program.ts";
import { detectReasoning, detectToolStyle, STYLE_MARKERS } from "./tool-style.ts";
import type {
  ChatTemplate,
  ChatTemplateOptions,
  ReasoningTags,
  RenderedPrompt,
  RenderRequest,
  ToolDefinition,
  ToolStyle,
} from "./types.ts";

const OWN_VARIABLES = new Set(["messages", "tools", "add_generation_prompt", "bos_token", "eos_token"]);
/** What control tokens look like, for a vocabulary that is not known. */
const TOKEN_SHAPES =
  /<[|｜][^<>|｜\s]{1,40}[|｜]>|<\/?s>|<(?:bos|eos|pad|unk|start_of_turn|end_of_turn)>|\[\/?[A-Z_]{3,24}\]/g;

/**
 * @param source the model's template (`tokenizer.chat_template` of the GGUF file); undefined where it has none
 * @throws NoodleError TEMPLATE_FAILED when there is none, it can't be read, or goes over a limit
 */
export function openChatTemplate(source: string | undefined, options: ChatTemplateOptions = {}): ChatTemplate {
  if (source === undefined || source.trim() === "") {
    throw new NoodleError(
      "TEMPLATE_FAILED",
      "the model has no chat template: send the prompt as text to /v1/completions, or choose one with --chat-template chatml",
    );
  }
  return new GgufChatTemplate(new TemplateProgram(source), options);
}

class GgufChatTemplate implements ChatTemplate {
  readonly toolStyle: ToolStyle;
  readonly describesTools: boolean;
  readonly reasoning: ReasoningTags | null;
  readonly visibleTokens: readonly string[];
  readonly #program: TemplateProgram;
  readonly #habits: TemplateHabits;
  readonly #special: SpecialText;
  readonly #tokens: { readonly bos_token: string; readonly eos_token: string };

  constructor(program: TemplateProgram, options: ChatTemplateOptions) {
    const { source, names } = program;
    this.#program = program;
    this.#tokens = { bos_token: options.bosToken ?? "", eos_token: options.eosToken ?? "" };
    this.describesTools = names.has("tools");
    this.toolStyle = detectToolStyle(source, this.describesTools);
    this.reasoning = detectReasoning(source);
    const known = options.controlTokens ?? source.match(TOKEN_SHAPES) ?? [];
    this.#special = new SpecialText([...known, ...Object.values(this.#tokens)], program.literals);
    const wanted = [
      ...STYLE_MARKERS[this.toolStyle],
      ...(this.reasoning ? Object.values<string>({ ...this.reasoning }) : []),
    ];
    this.visibleTokens = options.controlTokens === undefined ? wanted : wanted.filter((text) => known.includes(text));
    this.#habits = findHabits(program, this.#tokens, this.describesTools, this.reasoning);
  }

  render(request: RenderRequest): RenderedPrompt {
    if (request.messages.length === 0) throw new NoodleError("REQUEST_INVALID", "messages: at least one is needed");
    for (const name of Object.keys(request.extra ?? {})) {
      if (OWN_VARIABLES.has(name) || TEMPLATE_GLOBALS.has(name))
        throw new NoodleError("REQUEST_INVALID", `chat_template_kwargs: \`${name}\` is set already`);
    }
    const given = chooseTools(request);
    const marks = this.#special.openMarks(this.#program.source, [request.messages, given, request.extra]);
    const tools = prepareTools(given, marks);
    const systemText = tools.length > 0 && !this.describesTools ? describeTools(tools) : "";
    const rendered = this.#program.run(
      {
        ...(markValue(request.extra ?? {}, marks) as Record<string, unknown>),
        ...this.#tokens,
        messages: prepareMessages(request.messages, this.#habits, marks, systemText),
        // Templates ask whether there are any by `is none` or `is defined`, never by their number.
        tools: tools.length > 0 && this.describesTools ? tools : null,
        add_generation_prompt: request.addGenerationPrompt ?? true,
      },
      request.nowMs ?? 0,
    );
    const { text, segments } = marks.restore(rendered, this.#program.names.has("ensure_ascii"));
    const bos = this.#tokens.bos_token;
    return {
      text,
      segments,
      hasBos: bos !== "" && segments[0]?.special === true && segments[0].text.startsWith(bos),
      startsReasoning: this.reasoning !== null && text.trimEnd().endsWith(this.reasoning.open),
    };
  }
}

function chooseTools({ tools = [], toolChoice = "auto" }: RenderRequest): readonly ToolDefinition[] {
  if (toolChoice === "none") return [];
  if (typeof toolChoice === "string") return tools;
  const named = tools.filter((tool) => tool.function.name === toolChoice.function.name);
  if (named.length === 0)
    throw new NoodleError("REQUEST_INVALID", `tool_choice: there is no tool \`${toolChoice.function.name}\``);
  return named;
}

/** Tries the template with small conversations. One that fails at all of them fails when it is used. */
function findHabits(
  program: TemplateProgram,
  tokens: Readonly<Record<string, string>>,
  describesTools: boolean,
  reasoning: ReasoningTags | null,
): TemplateHabits {
  const run = (messages: readonly unknown[], tools: unknown = null): string =>
    program.tryOut({ ...tokens, messages, tools, add_generation_prompt: true }) ?? "";
  const user = { role: "user", content: "probe-user" };
  const wantsParts =
    !run([user]).includes("probe-user") &&
    run([{ role: "user", content: [{ type: "text", text: "probe-user" }] }]).includes("probe-user");
  const asContent = (text: string): unknown => (wantsParts ? [{ type: "text", text }] : text);
  const asked = { role: "user", content: asContent("probe-user") };
  const withRole = (role: string): string => run([{ role, content: asContent("probe-system") }, asked]);
  const withCall = (args: unknown): string =>
    run(
      [
        asked,
        {
          role: "assistant",
          content: null,
          tool_calls: [{ id: "probe0000", type: "function", function: { name: "probe", arguments: args } }],
        },
        { role: "tool", content: asContent("probe-answer"), tool_call_id: "probe0000", name: "probe" },
      ],
      [
        {
          type: "function",
          function: { name: "probe", description: "", parameters: { type: "object", properties: {} } },
        },
      ],
    );
  const showsCall = (args: unknown): boolean => withCall(args).includes('"probe-key"');
  const member = { "probe-key": "probe-value" };
  return {
    takesSystem: withRole("system").includes("probe-system") || !run([asked]).includes("probe-user"),
    knowsDeveloper: program.literals.has("developer") && withRole("developer").includes("probe-system"),
    describesTools,
    wantsParts,
    wantsTextArguments: describesTools && !showsCall(member) && showsCall(JSON.stringify(member)),
    reasoning,
  };
}
