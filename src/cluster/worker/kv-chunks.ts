import { createHash } from "node:crypto";
import type { MessageInitShape as Init } from "@bufbuild/protobuf";
import type { KvLayer } from "../../engine/index.ts";
import type { KvChunkSchema } from "../../protocol/index.ts";

const CHUNK_BYTES = 1024 * 1024;

/** A layer's K, then its V, in pieces; the last piece of each carries the SHA-256 of all its bytes. */
export function* makeKvChunks(layer: KvLayer, hashOnly: boolean): Generator<Init<typeof KvChunkSchema>> {
  for (const [isValue, bytes] of [
    [false, layer.kBytes],
    [true, layer.vBytes],
  ] as const) {
    const common = { block: layer.block, isValue, totalBytes: BigInt(bytes.length) };
    const sha256 = createHash("sha256").update(bytes).digest();
    if (hashOnly) {
      yield { ...common, sha256 };
      continue;
    }
    let offset = 0;
    do {
      const data = bytes.subarray(offset, offset + CHUNK_BYTES);
      const isLast = offset + CHUNK_BYTES >= bytes.length;
      yield { ...common, offsetBytes: BigInt(offset), data, ...(isLast ? { sha256 } : {}) };
      offset += CHUNK_BYTES;
    } while (offset < bytes.length);
  }
}
