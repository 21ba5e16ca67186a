import type { GenerateEvent } from "../cluster/coordinator/index.ts";
import { must } from "../common/index.ts";
import type { ChoiceOutput } from "./deliver.ts";
import { giveTurn } from "./give-turn.ts";
import { type LegacyLogprobs, LegacyLogprobsBuilder } from "./logprobs.ts";
import type { TokenTexts } from "./token-texts.ts";

/** Prompt tokens whose log-probabilities are written before the event loop gets a turn. */
const TURN_TOKENS = 256;

interface CompletionPiece {
  readonly index: number;
  readonly text: string;
  readonly logprobs: LegacyLogprobs | null;
  readonly finish_reason: "stop" | "length" | null;
}

interface CompletionPrompt {
  readonly tokenIds: readonly number[];
  readonly text: string;
  /** They come first in the text and in the log-probabilities. */
  readonly echo: boolean;
}

interface CompletionShape {
  readonly withLogprobs: boolean;
  readonly isStreamed: boolean;
}

/** One choice of a completion: its text and log-probabilities, as they come or whole. */
export class CompletionChoice implements ChoiceOutput {
  readonly #index: number;
  readonly #prompt: CompletionPrompt;
  readonly #logprobs: LegacyLogprobsBuilder | null;
  readonly #isStreamed: boolean;
  #text = "";
  #entries = 0;
  #finishReason: CompletionPiece["finish_reason"] = null;

  constructor(texts: TokenTexts, index: number, prompt: CompletionPrompt, shape: CompletionShape) {
    this.#index = index;
    this.#prompt = prompt;
    this.#isStreamed = shape.isStreamed;
    this.#logprobs = shape.withLogprobs ? new LegacyLogprobsBuilder(texts, prompt.text) : null;
  }

  async take(event: GenerateEvent): Promise<readonly CompletionPiece[]> {
    await this.#add(event);
    const hasNews = this.#text !== "" || this.#entries > 0 || event.type === "done";
    return this.#isStreamed && hasNews ? [this.message()] : [];
  }

  /** What has come since the last call. */
  message(): CompletionPiece {
    const logprobs = this.#logprobs?.take() ?? null;
    const piece = { index: this.#index, text: this.#text, logprobs, finish_reason: this.#finishReason };
    this.#text = "";
    this.#entries = 0;
    return piece;
  }

  async #add(event: GenerateEvent): Promise<void> {
    const { tokenIds, text, echo } = this.#prompt;
    if (event.type === "started" && echo) {
      this.#text = text;
      this.#addLogprobs(must(tokenIds[0], "token"), null);
    } else if (event.type === "prompt" && echo) {
      for (const [at, logprobs] of event.logprobs.entries()) {
        this.#addLogprobs(logprobs.tokenId, logprobs);
        if (at % TURN_TOKENS === TURN_TOKENS - 1) await giveTurn();
      }
    } else if (event.type === "token") {
      this.#text += event.text;
      if (event.logprobs !== null) this.#addLogprobs(event.tokenId, event.logprobs);
    } else if (event.type === "done") {
      this.#finishReason = event.finishReason;
    }
  }

  #addLogprobs(tokenId: number, logprobs: Parameters<LegacyLogprobsBuilder["add"]>[1]): void {
    this.#logprobs?.add(tokenId, logprobs);
    this.#entries += this.#logprobs === null ? 0 : 1;
  }
}
