/** What the coordinator needs of a tokenizer; the engine's `Tokenizer` is one. */
export interface PromptTokenizer {
  readonly vocabSize: number;
  tokenize(text: string): Int32Array;
  /** Bytes of one token: not always whole UTF-8 characters. Control tokens give none. */
  pieceBytes(tokenId: number): Uint8Array;
  isEndOfGeneration(tokenId: number): boolean;
}

/** Turns token pieces into text, one whole UTF-8 sequence at a time. */
export class TextAssembler {
  readonly #decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  /** Text that is complete with this piece; an unfinished sequence waits for the next piece. */
  push(piece: Uint8Array): string {
    return this.#decoder.decode(piece, { stream: true });
  }

  /** What is left: U+FFFD for a sequence that never became whole. */
  flush(): string {
    return this.#decoder.decode();
  }
}
