import { createHash } from "node:crypto";
import type { ChatOutput, OutputPiece } from "../chat/index.ts";
import type { GenerateEvent } from "../cluster/coordinator/index.ts";
import type { ChoiceOutput } from "./deliver.ts";
import { type ChatLogprobs, describeChatLogprobs } from "./logprobs.ts";
import type { TokenTexts } from "./token-texts.ts";

type FinishReason = "stop" | "length" | "tool_calls";

interface ToolCallDelta {
  readonly index: number;
  readonly id: string;
  readonly type: "function";
  readonly function: { readonly name: string; readonly arguments: string };
}

/** One chunk's `choices[0]`. */
export interface ChatPiece {
  readonly index: number;
  readonly delta: {
    readonly role?: "assistant";
    readonly content?: string;
    readonly reasoning_content?: string;
    readonly tool_calls?: readonly ToolCallDelta[];
  };
  readonly logprobs: ChatLogprobs | null;
  readonly finish_reason: FinishReason | null;
}

export interface ChatChoiceOptions {
  readonly withLogprobs: boolean;
  /** Special tokens whose text belongs to what is read. */
  readonly visibleTokens: ReadonlySet<string>;
  /** Of the generation: what is made of its journal again has the same ids. */
  readonly generationId: string;
}

/** One choice of a chat: takes its events, tells what to stream of them, and keeps the whole message. */
export class ChatChoice implements ChoiceOutput {
  readonly #index: number;
  readonly #output: ChatOutput;
  readonly #texts: TokenTexts;
  readonly #options: ChatChoiceOptions;
  readonly #logprobs: ChatLogprobs["content"] = [];
  /** How many of them were streamed. */
  #streamed = 0;
  #content = "";
  #reasoning = "";
  readonly #calls: Omit<ToolCallDelta, "index">[] = [];
  #finishReason: FinishReason = "stop";

  constructor(index: number, output: ChatOutput, texts: TokenTexts, options: ChatChoiceOptions) {
    this.#index = index;
    this.#output = output;
    this.#texts = texts;
    this.#options = options;
  }

  take(event: GenerateEvent): ChatPiece[] {
    if (event.type === "started") return [this.#piece({ role: "assistant", content: "" }, null)];
    if (event.type === "token") {
      if (this.#options.withLogprobs && event.logprobs !== null) {
        this.#logprobs.push(describeChatLogprobs(this.#texts, event.logprobs));
      }
      return this.#output.push(event.text + this.#visibleText(event.tokenId)).map((piece) => this.#tell(piece));
    }
    if (event.type !== "done") return [];
    const rest = this.#output.end(event.finishReason === "length").map((piece) => this.#tell(piece));
    const called = this.#output.toolCalls > 0 && event.finishReason === "stop";
    this.#finishReason = called ? "tool_calls" : event.finishReason;
    return [...rest, this.#piece({}, this.#finishReason)];
  }

  /** The whole of it, once it is done. */
  message(): object {
    const hasCalls = this.#calls.length > 0;
    return {
      index: this.#index,
      message: {
        role: "assistant",
        content: hasCalls && this.#content === "" ? null : this.#content,
        refusal: null,
        ...(this.#reasoning === "" ? {} : { reasoning_content: this.#reasoning }),
        ...(hasCalls ? { tool_calls: this.#calls } : {}),
      },
      logprobs: this.#options.withLogprobs ? { content: this.#logprobs, refusal: null } : null,
      finish_reason: this.#finishReason,
    };
  }

  /** The engine leaves the text of special tokens out; some of them open a call or a thought. */
  #visibleText(tokenId: number): string {
    const text = this.#texts.special(tokenId);
    return text !== null && this.#options.visibleTokens.has(text) ? text : "";
  }

  #tell(piece: OutputPiece): ChatPiece {
    if (piece.type === "content") {
      this.#content += piece.text;
      return this.#piece({ content: piece.text }, null);
    }
    if (piece.type === "reasoning") {
      this.#reasoning += piece.text;
      return this.#piece({ reasoning_content: piece.text }, null);
    }
    const { index, name } = piece;
    const seed = `${this.#options.generationId} ${this.#index} ${index}`;
    const id = `call_${createHash("sha256").update(seed).digest("hex").slice(0, 24)}`;
    const call = { id, type: "function", function: { name, arguments: piece.arguments } } as const;
    this.#calls.push(call);
    return this.#piece({ tool_calls: [{ index, ...call }] }, null);
  }

  #piece(delta: ChatPiece["delta"], finishReason: FinishReason | null): ChatPiece {
    const fresh = this.#logprobs.slice(this.#streamed);
    this.#streamed = this.#logprobs.length;
    const logprobs = fresh.length === 0 ? null : { content: fresh, refusal: null };
    return { index: this.#index, delta, logprobs, finish_reason: finishReason };
  }
}
