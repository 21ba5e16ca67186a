import { closeSync, openSync, readSync } from "node:fs";
import { NoodleError } from "../common/index.ts";
import type { GgufTensor } from "../gguf/index.ts";
import { decodeFunction, loadLibrary } from "./native/index.ts";

/** Rows of a 2-D tensor in a file, dequantised one at a time: an embedding needs no engine context and no memory. */
export class RowLookup {
  readonly rows: number;
  readonly width: number;
  readonly #file: number;
  readonly #tensor: GgufTensor;
  readonly #rowBytes: number;
  readonly #decode: ((bytes: Uint8Array, out: Float32Array, count: number) => void) | undefined;

  constructor(path: string, tensor: GgufTensor) {
    this.width = tensor.dims[0] ?? 0;
    this.rows = tensor.dims[1] ?? 1;
    this.#tensor = tensor;
    this.#rowBytes = (this.width / tensor.type.blockElements) * tensor.type.blockBytes;
    this.#decode = decodeFunction(loadLibrary().calls.ggml_get_type_traits(tensor.type.id));
    this.#file = openSync(path, "r");
  }

  /** @param out f32[width], written. @throws NoodleError `USAGE` for a row that does not exist */
  read(row: number, out: Float32Array): void {
    if (!Number.isInteger(row) || row < 0 || row >= this.rows) {
      throw new NoodleError("USAGE", `${this.#tensor.name} has rows 0..${this.rows - 1}, row ${row} was asked for`);
    }
    const bytes = new Uint8Array(this.#rowBytes);
    const got = readSync(this.#file, bytes, 0, this.#rowBytes, this.#tensor.fileOffset + row * this.#rowBytes);
    if (got !== this.#rowBytes)
      throw new NoodleError("STAGE_CORRUPT", `${this.#tensor.name}: the file ends inside row ${row}`);
    if (this.#decode === undefined) out.set(new Float32Array(bytes.buffer));
    else this.#decode(bytes, out, this.width);
  }

  close(): void {
    closeSync(this.#file);
  }
}
