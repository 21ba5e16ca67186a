import { createHash, type Hash } from "node:crypto";
import { must } from "../common/index.ts";
import type { GgufFile, GgufTensor } from "../gguf/index.ts";
import { throwIfInterrupted } from "./interrupt.ts";

/** SHA-256 in hex throughout. */
export interface ModelHashes {
  /** Over the bytes of all shards, one after another. */
  readonly sourceSha256: string;
  /** Over the headers: names a model without reading its weights. */
  readonly headerSha256: string;
  readonly sourceBytes: number;
  /** Over each tensor's data, in the order of the header. */
  readonly tensors: readonly TensorHash[];
}

export interface TensorHash {
  readonly name: string;
  readonly sha256: string;
}

/**
 * Hashes a model and each of its tensors, reading the file once.
 *
 * @param onProgress called after every piece of 4 MiB
 * @throws as `GgufFile.readRange`; `INTERRUPTED` by the signal
 */
export async function hashModel(
  file: GgufFile,
  onProgress?: (hashedBytes: number, totalBytes: number) => void,
  signal?: AbortSignal,
): Promise<ModelHashes> {
  const source = createHash("sha256");
  const digests = new Map<string, string>();
  let hashedBytes = 0;
  for (const [shard, { bytes }] of file.header.shards.entries()) {
    const cursor = new TensorCursor(
      file.header.tensors.filter((tensor) => tensor.shard === shard),
      digests,
    );
    let offset = 0;
    for await (const chunk of file.streamRange(shard, 0, bytes)) {
      throwIfInterrupted(signal, file.path);
      source.update(chunk);
      cursor.update(chunk, offset);
      offset += chunk.length;
      hashedBytes += chunk.length;
      onProgress?.(hashedBytes, file.fileBytes);
    }
  }
  return {
    sourceSha256: source.digest("hex"),
    headerSha256: await file.headerSha256(),
    sourceBytes: file.fileBytes,
    tensors: file.header.tensors.map(({ name }) => ({ name, sha256: must(digests.get(name), `hash of ${name}`) })),
  };
}

/** Feeds a shard's bytes, given in order, to the hash of whichever tensor they belong to. */
class TensorCursor {
  readonly #tensors: readonly GgufTensor[];
  readonly #digests: Map<string, string>;
  #next = 0;
  #hash: Hash = createHash("sha256");

  constructor(tensors: readonly GgufTensor[], digests: Map<string, string>) {
    this.#tensors = [...tensors].sort((a, b) => a.fileOffset - b.fileOffset);
    this.#digests = digests;
  }

  update(chunk: Uint8Array, offset: number): void {
    for (;;) {
      const tensor = this.#tensors[this.#next];
      if (tensor === undefined) return;
      const from = Math.max(tensor.fileOffset - offset, 0);
      if (from >= chunk.length && tensor.bytes > 0) return;
      const end = tensor.fileOffset + tensor.bytes - offset;
      this.#hash.update(chunk.subarray(from, Math.min(end, chunk.length)));
      if (end > chunk.length) return;
      this.#digests.set(tensor.name, this.#hash.digest("hex"));
      this.#hash = createHash("sha256");
      this.#next++;
    }
  }
}
