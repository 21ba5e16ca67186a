import { resolve } from "node:path";
import { create } from "@bufbuild/protobuf";
import { must } from "../../common/index.ts";
import { openGguf } from "../../gguf/index.ts";
import { countUnits, describeModel, parseSplit, splitByBytes } from "../../model/index.ts";
import { ModelIdentitySchema } from "../../protocol/index.ts";
import { type HashOptions, type HashStore, readModelHashes } from "./hash-cache.ts";
import type { ModelSource } from "./model-source.ts";

/**
 * Opens a model's file for a coordinator. Its shards stay open until `close`, so that what was hashed is what is handed
 * out.
 *
 * @param path of any shard
 * @throws the errors of the model's file
 */
export async function openModelSource(path: string, store: HashStore, options: HashOptions = {}): Promise<ModelSource> {
  const file = await openGguf(path);
  try {
    const model = describeModel(file.header, file.fileBytes);
    const hashes = await readModelHashes(file, store, options);
    return {
      identity: create(ModelIdentitySchema, {
        path: resolve(must(file.header.shards[0], "first shard").path),
        shardBytes: file.header.shards.map((shard) => BigInt(shard.bytes)),
        headerSha256: fromHex(hashes.headerSha256),
        sourceSha256: fromHex(hashes.sourceSha256),
        tensors: hashes.tensors.map(({ name, sha256 }) => ({ name, sha256: fromHex(sha256) })),
      }),
      unitCount: countUnits(model.blockCount),
      fileBytes: file.fileBytes,
      unitBytes: model.units.map(({ bytes }) => bytes),
      contextLength: model.contextLength,
      splitByBytes: (stages) => splitByBytes(model, stages),
      parseSplit: (text) => parseSplit(text, model),
      streamRange: (shard, offset, length, chunkBytes) => file.streamRange(shard, offset, length, chunkBytes),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function fromHex(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "hex"));
}
