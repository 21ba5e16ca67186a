import { type Library, type Pointer, readAddress, readInt32 } from "./native/index.ts";

/** `llama_token_data`: id, logit, p. */
const CANDIDATE_BYTES = 12;

/** The library's array of candidates, for samplers that shall see a part of the vocabulary. */
export class Candidates {
  readonly #ids: Int32Array;
  readonly #logits: Float32Array;
  readonly #array: DataView;
  readonly #address: bigint;

  /** @param capacity tokens of the vocabulary */
  constructor(capacity: number) {
    const data = new ArrayBuffer(capacity * CANDIDATE_BYTES);
    this.#ids = new Int32Array(data);
    this.#logits = new Float32Array(data);
    this.#address = readAddress(this.#ids);
    // `llama_token_data_array`: data, size, selected, sorted.
    this.#array = new DataView(new ArrayBuffer(32));
  }

  /**
   * @param tokenIds at least one, each once
   * @param logits of these tokens, in their order
   * @returns the one that the chain chooses
   */
  choose(library: Library, chain: Pointer, tokenIds: readonly number[], logits: readonly number[]): number {
    for (const [i, id] of tokenIds.entries()) {
      this.#ids[3 * i] = id;
      this.#logits[3 * i + 1] = logits[i] as number;
    }
    this.#array.setBigUint64(0, this.#address, true);
    this.#array.setBigUint64(8, BigInt(tokenIds.length), true);
    this.#array.setBigInt64(16, -1n, true);
    this.#array.setUint8(24, 0);
    library.calls.llama_sampler_apply(chain, new Uint8Array(this.#array.buffer));
    const selected = Number(this.#array.getBigInt64(16, true));
    // The samplers may have put the candidates elsewhere.
    return readInt32(Number(this.#array.getBigUint64(0, true)) + selected * CANDIDATE_BYTES);
  }
}
