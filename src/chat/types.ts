/** Shapes as in OpenAI's chat completions; fields that may be left away may also be undefined. */
export type ChatRole = "system" | "developer" | "user" | "assistant" | "tool";

/** Only parts of type `text` are read; any other is refused with NOT_SUPPORTED. */
export interface ContentPart {
  readonly type: string;
  readonly text?: string | undefined;
}

export interface ToolCall {
  readonly id?: string | undefined;
  readonly type?: "function" | undefined;
  readonly function: {
    readonly name: string;
    /** A JSON document as text. */
    readonly arguments: string;
  };
}

export interface ChatMessage {
  readonly role: ChatRole;
  readonly content?: string | readonly ContentPart[] | null | undefined;
  readonly name?: string | undefined;
  readonly tool_calls?: readonly ToolCall[] | undefined;
  readonly tool_call_id?: string | undefined;
  readonly reasoning_content?: string | null | undefined;
}

export interface ToolDefinition {
  readonly type: "function";
  readonly function: {
    /** 1 to 64 of `A-Z a-z 0-9 _ -`. */
    readonly name: string;
    readonly description?: string | undefined;
    /** JSON Schema of the arguments, an object. @default no arguments are described: any object */
    readonly parameters?: Readonly<Record<string, unknown>> | undefined;
    /** Holds calls to the schema even where the model may choose to answer in plain text. @default false */
    readonly strict?: boolean | null | undefined;
  };
}

export type ToolChoice =
  | "none"
  | "auto"
  | "required"
  | { readonly type: "function"; readonly function: { readonly name: string } };

/**
 * How a model writes its calls:
 * `hermes`  `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, one after another (Hermes, Qwen, many others);
 * `llama3`  `{"name": ..., "parameters": {...}}`, possibly behind `<|python_tag|>`, several by `;`;
 * `mistral` `[TOOL_CALLS][{"name": ..., "arguments": {...}}, ...]`;
 * `json`    `{"name": ..., "arguments": {...}}` or an array of them.
 */
export type ToolStyle = "hermes" | "llama3" | "mistral" | "json";

/** The texts around what a model thinks before it answers. */
export interface ReasoningTags {
  readonly open: string;
  readonly close: string;
}

/** A piece of a prompt. */
export interface PromptSegment {
  readonly text: string;
  /** True: special tokens in it are the template's and are parsed. False: they came from outside and are plain text. */
  readonly special: boolean;
}

export interface RenderedPrompt {
  /** In order; tokenise each by itself with `parseSpecial: segment.special`. Nearly always one segment. */
  readonly segments: readonly PromptSegment[];
  /** All of it. */
  readonly text: string;
  /** The template has written the model's BOS itself: tokenise with `addSpecial: false`, also the first segment. */
  readonly hasBos: boolean;
  /** The prompt ends inside the reasoning: what the model writes begins there. */
  readonly startsReasoning: boolean;
}

export interface RenderRequest {
  readonly messages: readonly ChatMessage[];
  readonly tools?: readonly ToolDefinition[] | undefined;
  /** Tells the prompt which tools there are: none for `none`, the named one alone for a named one. @default "auto" */
  readonly toolChoice?: ToolChoice | undefined;
  /** End with the beginning of the assistant's turn. @default true */
  readonly addGenerationPrompt?: boolean | undefined;
  /** More variables for the template (`chat_template_kwargs`); names that the template gets anyway are refused. */
  readonly extra?: Readonly<Record<string, unknown>> | undefined;
  /** What `strftime_now` reads, milliseconds since 1970, UTC. @default 0 */
  readonly nowMs?: number | undefined;
}

export interface ChatTemplateOptions {
  /** @default "" */
  readonly bosToken?: string | undefined;
  /** @default "" */
  readonly eosToken?: string | undefined;
  /**
   * Texts of the vocabulary's control tokens (GGUF token types 2 and 3): where these come from users they stay text.
   * @default bosToken, eosToken and what looks like one in the template
   */
  readonly controlTokens?: readonly string[] | undefined;
}

export interface ChatTemplate {
  /** How this model's tool calls are written. */
  readonly toolStyle: ToolStyle;
  /** The template describes tools itself; otherwise a system text does. */
  readonly describesTools: boolean;
  /** Null where the template knows of no reasoning. */
  readonly reasoning: ReasoningTags | null;
  /**
   * Control tokens that belong into the text that `ChatOutput` reads: an engine leaves the text of control tokens out,
   * and a call could not be seen without these.
   */
  readonly visibleTokens: readonly string[];
  /**
   * @throws NoodleError TEMPLATE_FAILED with the template's own words or the limit it went over; REQUEST_INVALID for
   * messages or tools of a wrong form; NOT_SUPPORTED for parts that are not text
   */
  render(request: RenderRequest): RenderedPrompt;
}
