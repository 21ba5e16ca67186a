import { giveTurn } from "./give-turn.ts";
import type { ServedTokenizer } from "./served-model.ts";

/** How tokens are written, each asked of the tokenizer once. */
export class TokenTexts {
  readonly #tokenizer: ServedTokenizer;
  readonly #known = new Map<number, Uint8Array>();

  constructor(tokenizer: ServedTokenizer) {
    this.#tokenizer = tokenizer;
  }

  /** Bytes of a token as they stand in text; special tokens as they are written. Shared: do not change them. */
  bytes(tokenId: number): Uint8Array {
    let bytes = this.#known.get(tokenId);
    if (bytes === undefined) {
      const special = this.#tokenizer.specialTokens.get(tokenId);
      bytes = special === undefined ? this.#tokenizer.pieceBytes(tokenId) : Buffer.from(special);
      this.#known.set(tokenId, bytes);
    }
    return bytes;
  }

  /** How a special token is written; null for any other. */
  special(tokenId: number): string | null {
    return this.#tokenizer.specialTokens.get(tokenId) ?? null;
  }

  /** Text of a token; U+FFFD for what is no whole character. */
  text(tokenId: number): string {
    return Buffer.from(this.bytes(tokenId)).toString("utf8");
  }

  /** As the legacy log-probabilities name a token: its text, or its bytes where they are no whole characters. */
  legacyName(tokenId: number): string {
    const bytes = this.bytes(tokenId);
    const text = Buffer.from(bytes).toString("utf8");
    if (!text.includes("\ufffd")) return text;
    return `bytes:${Array.from(bytes, (byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }

  /** Text of a row of tokens without the special ones, as a reader sees it. Gives the event loop a turn now and then. */
  async detokenize(tokenIds: readonly number[], withSpecial: boolean): Promise<string> {
    const parts: Uint8Array[] = [];
    for (const [index, id] of tokenIds.entries()) {
      if (withSpecial || !this.#tokenizer.specialTokens.has(id)) parts.push(this.bytes(id));
      if (index % TURN_TOKENS === TURN_TOKENS - 1) await giveTurn();
    }
    return Buffer.concat(parts).toString("utf8");
  }
}

const TURN_TOKENS = 4096;

/** A special token's text, or null for the id -1 that says there is none. */
export function writeSpecial(tokenizer: ServedTokenizer, tokenId: number): string | null {
  if (tokenId < 0) return null;
  return tokenizer.specialTokens.get(tokenId) ?? Buffer.from(tokenizer.pieceBytes(tokenId)).toString();
}
