import { NoodleError } from "../common/index.ts";

/** The next multiple of `alignment`. No bitwise operators: they cut numbers to 32 bits. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

/**
 * Hands out places in a data section. Tensors lie in the order of the header, each where the padding of the one
 * before ends; the engine accepts nothing else, and with it a file can be rebuilt from its header and its tensors.
 */
export class DataLayout {
  readonly #alignment: number;
  #nextOffset = 0;

  constructor(alignment: number) {
    this.#alignment = alignment;
  }

  /** Bytes of all tensors so far, the padding of the last one included. */
  get bytes(): number {
    return this.#nextOffset;
  }

  /**
   * @param what the tensor, for messages
   * @returns offset of the tensor, relative to the data section
   * @throws NoodleError `GGUF_MALFORMED` when the section grows beyond 2^53 bytes
   */
  place(sizeBytes: number, what: string): number {
    const offset = this.#nextOffset;
    const next = alignUp(offset + sizeBytes, this.#alignment);
    if (!Number.isSafeInteger(next)) {
      throw new NoodleError("GGUF_MALFORMED", `${what}: the tensors before and with it have more than 2^53 bytes`);
    }
    this.#nextOffset = next;
    return offset;
  }

  /** Says what is wrong with an offset that is not the expected one. */
  describeOffset(offset: number, expected: number): string {
    if (offset % this.#alignment !== 0) return `offset ${offset} is not aligned to ${this.#alignment}`;
    if (offset < expected) return `offset ${offset} overlaps the tensor before, which ends at ${expected}`;
    return `offset ${offset} leaves a gap behind the tensor before, which ends at ${expected}`;
  }
}
