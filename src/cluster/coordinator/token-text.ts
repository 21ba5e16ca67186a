import { StopMatcher } from "./stop-matcher.ts";
import { type PromptTokenizer, TextAssembler } from "./tokenizer.ts";

/** Turns a session's tokens into its text, up to where it ends by itself. */
export class TokenText {
  readonly #tokenizer: PromptTokenizer;
  readonly #ignoreEos: boolean;
  readonly #assembler = new TextAssembler();
  readonly #stops: StopMatcher;

  /** @param ignoreEos end-of-generation tokens do not end it */
  constructor(tokenizer: PromptTokenizer, stops: readonly string[], ignoreEos: boolean) {
    this.#tokenizer = tokenizer;
    this.#ignoreEos = ignoreEos;
    this.#stops = new StopMatcher(stops);
  }

  /** The stop text that ended it; null where none did. */
  get stopText(): string | null {
    return this.#stops.found;
  }

  /**
   * @param isLast no other token comes, so nothing is held back
   * @returns text that is certain now; `ends` when the token or a stop text ends the generation
   */
  push(tokenId: number, isLast: boolean): { readonly text: string; readonly ends: boolean } {
    const isEnd = !this.#ignoreEos && this.#tokenizer.isEndOfGeneration(tokenId);
    let text = this.#stops.push(this.#assembler.push(this.#tokenizer.pieceBytes(tokenId)));
    if ((isEnd || isLast) && this.stopText === null) text += this.#stops.push(this.#assembler.flush());
    if ((isEnd || isLast) && this.stopText === null) text += this.#stops.flush();
    return { text, ends: isEnd || this.stopText !== null };
  }
}
