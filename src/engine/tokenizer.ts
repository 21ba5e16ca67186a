import { NoodleError } from "../common/index.ts";
import { readPiece } from "./model-vocabulary.ts";
import { type Library, loadLibrary, type Pointer } from "./native/index.ts";

/** Most control tokens that are listed: a vocabulary of a hostile file may hold nothing else. */
const MAX_CONTROL_TOKENS = 4096;
/** `llama_token_attr`: control tokens, and ones that the model's makers added, which parseSpecial also finds. */
const SPECIAL_ATTRIBUTES = (1 << 3) | (1 << 4);

/** A token that stands for more than its letters. */
export interface SpecialToken {
  readonly tokenId: number;
  readonly text: string;
}

/** The model's own tokenizer, loaded without weights. Synchronous and cheap; close it when done. */
export class Tokenizer {
  readonly vocabSize: number;
  /** The tokens that begin a text, end it, and end a turn of a conversation; -1 = the model has none. */
  readonly bosId: number;
  readonly eosId: number;
  readonly eotId: number;
  readonly #library: Library;
  readonly #vocab: Pointer;
  #model: Pointer | undefined;
  #specialTokens: readonly SpecialToken[] | undefined;

  private constructor(library: Library, model: Pointer) {
    this.#library = library;
    this.#model = model;
    this.#vocab = library.calls.llama_model_get_vocab(model);
    this.vocabSize = library.calls.llama_vocab_n_tokens(this.#vocab);
    this.bosId = library.calls.llama_vocab_bos(this.#vocab);
    this.eosId = library.calls.llama_vocab_eos(this.#vocab);
    this.eotId = library.calls.llama_vocab_eot(this.#vocab);
  }

  /** @param path a GGUF file whose header `openGguf` has accepted. @throws NoodleError `ENGINE_LOAD_FAILED` */
  static open(path: string): Tokenizer {
    const library = loadLibrary();
    const model = library.calls.llama_model_load_from_file(path, {
      ...library.calls.llama_model_default_params(),
      vocab_only: true,
    });
    if (model === null)
      throw new NoodleError("ENGINE_LOAD_FAILED", `the engine does not accept the tokenizer in ${path}`);
    return new Tokenizer(library, model);
  }

  /**
   * @param addSpecial put the model's begin-of-text token in front where the model wants one. @default true
   * @param parseSpecial read `<|...|>` as special tokens. @default false
   */
  tokenize(text: string, options: { readonly addSpecial?: boolean; readonly parseSpecial?: boolean } = {}): Int32Array {
    this.#checkOpen();
    const bytes = Buffer.from(text, "utf8");
    const source = bytes.length === 0 ? Buffer.alloc(1) : bytes;
    let tokens = new Int32Array(bytes.length + 8);
    const call = (): number =>
      this.#library.calls.llama_tokenize(
        this.#vocab,
        source,
        bytes.length,
        tokens,
        tokens.length,
        options.addSpecial ?? true,
        options.parseSpecial ?? false,
      );
    let count = call();
    if (count < 0) {
      tokens = new Int32Array(-count);
      count = call();
    }
    if (count < 0) throw new NoodleError("ENGINE_FAILED", `tokenizing ${bytes.length} bytes failed (${count})`);
    return tokens.slice(0, count);
  }

  /**
   * Bytes of one token: not always whole UTF-8 characters.
   *
   * @param special give the text of control tokens too. @default false = they give none
   */
  pieceBytes(tokenId: number, { special = false }: { readonly special?: boolean } = {}): Uint8Array {
    this.#checkOpen();
    if (!Number.isInteger(tokenId) || tokenId < 0 || tokenId >= this.vocabSize)
      throw new NoodleError("USAGE", `token id ${tokenId} is outside the vocabulary of ${this.vocabSize}`);
    return readPiece(this.#library, this.#vocab, tokenId, special);
  }

  /** Text of any token, control tokens included; U+FFFD for bytes that are no whole characters. */
  tokenText(tokenId: number): string {
    return Buffer.from(this.pieceBytes(tokenId, { special: true })).toString("utf8");
  }

  /** @param special as `pieceBytes` */
  detokenize(tokenIds: ArrayLike<number>, options: { readonly special?: boolean } = {}): string {
    return Buffer.concat(Array.from(tokenIds, (id) => this.pieceBytes(id, options))).toString("utf8");
  }

  /** Control tokens, and others that `parseSpecial` finds whole in a text: at most 4,096, in order of their ids. */
  specialTokens(): readonly SpecialToken[] {
    this.#checkOpen();
    this.#specialTokens ??= this.#listSpecial();
    return this.#specialTokens;
  }

  isEndOfGeneration(tokenId: number): boolean {
    this.#checkOpen();
    return this.#library.calls.llama_vocab_is_eog(this.#vocab, tokenId);
  }

  close(): void {
    if (this.#model === undefined) return;
    this.#library.calls.llama_model_free(this.#model);
    this.#model = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #listSpecial(): readonly SpecialToken[] {
    const found: SpecialToken[] = [];
    for (let tokenId = 0; tokenId < this.vocabSize && found.length < MAX_CONTROL_TOKENS; tokenId++) {
      if ((this.#library.calls.llama_vocab_get_attr(this.#vocab, tokenId) & SPECIAL_ATTRIBUTES) === 0) continue;
      const text = this.tokenText(tokenId);
      if (text !== "") found.push({ tokenId, text });
    }
    return found;
  }

  #checkOpen(): void {
    if (this.#model === undefined) throw new NoodleError("ILLEGAL_STATE", "tokenizer used after close");
  }
}
