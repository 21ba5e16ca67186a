import {
  type Library,
  readInt32,
  readInt64,
  readName,
  registerEvalCallback,
  TENSOR,
  type Pointer,
} from "./native/index.ts";

/** First four bytes of `l_out-N`, as the little-endian integer that one read gives. */
const L_OUT = Buffer.from("l_ou").readInt32LE();

/**
 * Copies the last block's output out of the running graph and stops there, so that norm and output matrix behind it are
 * not computed. The library calls back for every graph node; all but the wanted one cost one four-byte read.
 */
export class OutputCapture {
  readonly address: Pointer;
  /** Row-major f32 of the last call, exactly as large as what was captured; undefined when the node never came. */
  captured: Float32Array | undefined;
  readonly #library: Library;
  readonly #wanted: string;
  readonly #nEmbd: number;
  readonly #release: () => void;

  /** @param block 0-based index of the last block inside this stage's file. */
  constructor(library: Library, block: number, nEmbd: number) {
    this.#library = library;
    this.#wanted = `l_out-${block}`;
    this.#nEmbd = nEmbd;
    const registered = registerEvalCallback((tensor, ask) => (ask ? this.#isWanted(tensor) : this.#take(tensor)));
    this.address = registered.address;
    this.#release = registered.release;
  }

  close(): void {
    this.#release();
  }

  #isWanted(tensor: number): boolean {
    return readInt32(tensor + TENSOR.name) === L_OUT && readName(tensor) === this.#wanted;
  }

  /** @returns false: the rest of the graph is not wanted. */
  #take(tensor: number): boolean {
    const rows = readInt64(tensor + TENSOR.ne + 8);
    const out = new Float32Array(rows * this.#nEmbd);
    if (rows > 0) this.#library.calls.ggml_backend_tensor_get(tensor, out, 0, out.byteLength);
    this.captured = out;
    return false;
  }
}
