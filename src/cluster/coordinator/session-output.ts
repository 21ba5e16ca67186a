import { must } from "../../common/index.ts";
import type { EventQueue } from "./event-queue.ts";
import type { GenerateEvent, TokenLogprobs } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import type { ComputedRun } from "../../schedule/index.ts";
import { TokenText } from "./token-text.ts";
import type { PromptTokenizer } from "./tokenizer.ts";

/** What the last stage says of a position. */
export interface SampledStep {
  readonly tokenId: number;
  /** f32[nVocab] or null when not asked for. */
  readonly logits: Float32Array | null;
  readonly receivedMs: number;
}

/** A reader this many events behind holds its own session back, so that what waits for it stays small. */
const MAX_UNREAD = 1024;
/** The same where each event carries logits. */
const MAX_UNREAD_LOGITS = 64;

/** What a session tells its reader: tokens with their text, and log-probabilities. */
export class SessionOutput {
  readonly #request: GenerateRequest;
  readonly #promptTokens: number;
  readonly #text: TokenText;
  readonly #queue: EventQueue<GenerateEvent>;
  readonly #promptLogprobs: TokenLogprobs[] = [];
  #tokenLogprobs: { readonly position: number; readonly logprobs: TokenLogprobs } | null = null;

  constructor(
    request: GenerateRequest,
    promptTokens: number,
    tokenizer: PromptTokenizer,
    queue: EventQueue<GenerateEvent>,
  ) {
    this.#request = request;
    this.#promptTokens = promptTokens;
    this.#queue = queue;
    this.#text = new TokenText(tokenizer, request.stop ?? [], request.ignoreEos === true);
  }

  /** The stop text that was found. */
  get stopText(): string | null {
    return this.#text.stopText;
  }

  /** Its reader is so far behind that the session waits for it. */
  get isHeldBack(): boolean {
    return this.#queue.size >= (this.#request.wantLogits === true ? MAX_UNREAD_LOGITS : MAX_UNREAD);
  }

  /** Log-probability of the token at `position`; comes before the token itself where that is sampled. */
  receiveLogprobs(position: number, logprobs: TokenLogprobs): void {
    const { promptLogprobs, topLogprobs } = this.#request;
    if (position < this.#promptTokens) this.#promptLogprobs[position - 1] = cutTop(logprobs, promptLogprobs);
    else this.#tokenLogprobs = { position, logprobs: cutTop(logprobs, topLogprobs) };
  }

  /** All log-probabilities of the prompt have come. */
  tellPrompt(): void {
    const logprobs = Array.from({ length: this.#promptTokens - 1 }, (_, index) =>
      must(this.#promptLogprobs[index], `log-probability of prompt token ${index + 1}`),
    );
    this.#queue.push({ type: "prompt", logprobs });
  }

  /** Takes the text of tokens that were told before. @returns whether one of them ended the generation */
  prime(tokenIds: readonly number[]): boolean {
    return tokenIds.some((tokenId) => this.#text.push(tokenId, false).ends);
  }

  /**
   * @param isLast no other token comes
   * @param calls how positions were computed, where that is to be told
   * @returns whether the token, or a stop text, ends the generation
   */
  tellToken(
    position: number,
    { tokenId, logits }: SampledStep,
    isLast: boolean,
    calls?: readonly ComputedRun[],
  ): boolean {
    const { text, ends } = this.#text.push(tokenId, isLast);
    const isWanted = (this.#request.topLogprobs ?? null) !== null;
    const logprobs = isWanted && this.#tokenLogprobs?.position === position ? this.#tokenLogprobs.logprobs : null;
    const told = calls === undefined ? {} : { calls };
    this.#queue.push({ type: "token", index: position - this.#promptTokens, tokenId, text, logits, logprobs, ...told });
    return ends;
  }
}

function cutTop(logprobs: TokenLogprobs, count: number | null | undefined): TokenLogprobs {
  return logprobs.top.length <= (count ?? 0) ? logprobs : { ...logprobs, top: logprobs.top.slice(0, count ?? 0) };
}
