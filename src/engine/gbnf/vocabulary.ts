/** The tokens of a model as a grammar sees them. */
export class Vocabulary {
  readonly size: number;
  /** Tokens that end a generation, ascending. */
  readonly endTokens: readonly number[];
  readonly #pieces: readonly Uint8Array[];
  readonly #isEnd: Uint8Array;
  #order: Int32Array | undefined;
  #shared: Uint16Array | undefined;

  /** @param pieces bytes of each token, owned; empty for tokens that are not text */
  constructor(pieces: readonly Uint8Array[], endTokens: readonly number[]) {
    this.#pieces = pieces;
    this.size = pieces.length;
    this.endTokens = endTokens;
    this.#isEnd = new Uint8Array(pieces.length);
    for (const token of endTokens) this.#isEnd[token] = 1;
  }

  /** Empty for a token that does not exist, or is not text. */
  piece(tokenId: number): Uint8Array {
    return this.#pieces[tokenId] ?? new Uint8Array();
  }

  isEnd(tokenId: number): boolean {
    return this.#isEnd[tokenId] === 1;
  }

  /** Tokens that are text, those that begin alike behind one another. */
  get order(): Int32Array {
    this.#order ??= this.#sort();
    return this.#order;
  }

  /** For each entry of `order`: bytes that it begins with as its predecessor does. */
  get sharedBytes(): Uint16Array {
    this.#shared ??= this.#compare();
    return this.#shared;
  }

  #sort(): Int32Array {
    const text = this.#pieces.flatMap((piece, id) => (piece.length === 0 || this.#isEnd[id] === 1 ? [] : [id]));
    return Int32Array.from(text.sort((a, b) => Buffer.compare(this.piece(a), this.piece(b)) || a - b));
  }

  #compare(): Uint16Array {
    const { order } = this;
    const shared = new Uint16Array(order.length);
    for (let i = 1; i < order.length; i++) {
      const [a, b] = [this.piece(order[i - 1] as number), this.piece(order[i] as number)];
      let same = 0;
      while (same < a.length && same < b.length && same < 0xffff && a[same] === b[same]) same++;
      shared[i] = same;
    }
    return shared;
  }
}
