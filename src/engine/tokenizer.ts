import { NoodleError } from "../common/index.ts";
import { type Library, loadLibrary, type Pointer } from "./native/index.ts";

/** The model's own tokenizer, loaded without weights. Synchronous and cheap; close it when done. */
export class Tokenizer {
  readonly vocabSize: number;
  readonly bosId: number;
  readonly eosId: number;
  readonly #library: Library;
  readonly #vocab: Pointer;
  #model: Pointer | undefined;

  private constructor(library: Library, model: Pointer) {
    this.#library = library;
    this.#model = model;
    this.#vocab = library.calls.llama_model_get_vocab(model);
    this.vocabSize = library.calls.llama_vocab_n_tokens(this.#vocab);
    this.bosId = library.calls.llama_vocab_bos(this.#vocab);
    this.eosId = library.calls.llama_vocab_eos(this.#vocab);
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

  /** Bytes of one token: not always whole UTF-8 characters. Control tokens give none. */
  pieceBytes(tokenId: number): Uint8Array {
    this.#checkOpen();
    if (!Number.isInteger(tokenId) || tokenId < 0 || tokenId >= this.vocabSize) {
      throw new NoodleError("USAGE", `token id ${tokenId} is outside the vocabulary of ${this.vocabSize}`);
    }
    let buffer = new Uint8Array(64);
    let length = this.#library.calls.llama_token_to_piece(this.#vocab, tokenId, buffer, buffer.length, 0, false);
    if (length < 0) {
      buffer = new Uint8Array(-length);
      length = this.#library.calls.llama_token_to_piece(this.#vocab, tokenId, buffer, buffer.length, 0, false);
    }
    return buffer.slice(0, Math.max(0, length));
  }

  detokenize(tokenIds: ArrayLike<number>): string {
    return Buffer.concat(Array.from(tokenIds, (id) => this.pieceBytes(id))).toString("utf8");
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

  #checkOpen(): void {
    if (this.#model === undefined) throw new NoodleError("ILLEGAL_STATE", "tokenizer used after close");
  }
}
