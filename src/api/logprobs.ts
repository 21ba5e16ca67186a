import type { z } from "zod";
import type { CHAT_RESPONSE } from "./schemas/chat.ts";
import type { COMPLETION_RESPONSE } from "./schemas/completions.ts";
import type { TokenTexts } from "./token-texts.ts";

/** A token with its log-probability and the likeliest alternatives, best first, as the coordinator gives them. */
export interface TokenLogprobs {
  readonly tokenId: number;
  readonly logprob: number;
  readonly top: readonly { readonly tokenId: number; readonly logprob: number }[];
}

export type LegacyLogprobs = NonNullable<z.infer<typeof COMPLETION_RESPONSE>["choices"][number]["logprobs"]>;
export type ChatLogprobs = NonNullable<z.infer<typeof CHAT_RESPONSE>["choices"][number]["logprobs"]>;
type ChatEntry = ChatLogprobs["content"][number];

/** JSON has no -Infinity: what a banned token gets. */
const LEAST = -9999;

/** Fills the four parallel arrays of /v1/completions, token by token. */
export class LegacyLogprobsBuilder {
  readonly #texts: TokenTexts;
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  /** The prompt as it stands in front of the text; "" where it does not. */
  readonly #promptText: string;
  #offset = 0;
  #entries: LegacyLogprobs = empty();

  constructor(texts: TokenTexts, promptText: string) {
    this.#texts = texts;
    this.#promptText = promptText;
  }

  /** @param logprobs null for the first token of a prompt, which nothing predicts */
  add(tokenId: number, logprobs: TokenLogprobs | null): void {
    const { tokens, token_logprobs, top_logprobs, text_offset } = this.#entries;
    tokens.push(this.#texts.legacyName(tokenId));
    text_offset.push(this.#offset);
    this.#offset += this.#widthOf(tokenId);
    token_logprobs.push(logprobs === null ? null : clamp(logprobs.logprob));
    top_logprobs.push(logprobs === null ? null : this.#top(logprobs));
  }

  /** Characters of the text that a token stands for: special tokens and a leading space are not always part of it. */
  #widthOf(tokenId: number): number {
    const special = this.#texts.special(tokenId);
    if (special !== null) return this.#promptText.startsWith(special, this.#offset) ? special.length : 0;
    const piece = this.#decoder.decode(this.#texts.bytes(tokenId), { stream: true });
    const isPrefixed = this.#offset === 0 && piece.startsWith(" ") && /^[^ ]/.test(this.#promptText);
    return piece.length - (isPrefixed ? 1 : 0);
  }

  /** What was added since the last call. */
  take(): LegacyLogprobs {
    const taken = this.#entries;
    this.#entries = empty();
    return taken;
  }

  /** The token itself is always among its alternatives; of two that are written alike the likelier one counts. */
  #top({ tokenId, logprob, top }: TokenLogprobs): Record<string, number> {
    const named = new Map<string, number>();
    for (const entry of [...top, { tokenId, logprob }]) {
      const name = this.#texts.legacyName(entry.tokenId);
      named.set(name, Math.max(named.get(name) ?? Number.NEGATIVE_INFINITY, clamp(entry.logprob)));
    }
    return Object.fromEntries(named);
  }
}

function empty(): LegacyLogprobs {
  return { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
}

/** The entry of /v1/chat/completions for one token. */
export function describeChatLogprobs(texts: TokenTexts, entry: TokenLogprobs): ChatEntry {
  return { ...describeToken(texts, entry), top_logprobs: entry.top.map((other) => describeToken(texts, other)) };
}

function describeToken(
  texts: TokenTexts,
  entry: { readonly tokenId: number; readonly logprob: number },
): Omit<ChatEntry, "top_logprobs"> {
  return {
    token: texts.text(entry.tokenId),
    logprob: clamp(entry.logprob),
    bytes: [...texts.bytes(entry.tokenId)],
  };
}

function clamp(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : LEAST;
}
