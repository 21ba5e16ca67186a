import { createHash } from "node:crypto";
import { open } from "node:fs/promises";
import { NoodleError } from "../common/index.ts";
import { type GgufHeader, openGguf, parseGgufHeader } from "../gguf/index.ts";

/** What is known of a model from its header. */
export interface ModelHeader {
  readonly header: GgufHeader;
  readonly headerSha256: string;
  /** Of the files as they are, complete or not. */
  readonly fileBytes: number;
}

/** Longer than the header of any model that fits the reader's limits on vocabularies. */
const MAX_PREFIX_BYTES = 256 * 1024 * 1024;

/**
 * Reads a model's header, also where the weights behind it are missing in whole or in part.
 *
 * @throws as `openGguf`, but for weights that are not there
 */
export async function readModelHeader(path: string): Promise<ModelHeader> {
  try {
    const file = await openGguf(path);
    try {
      return { header: file.header, headerSha256: await file.headerSha256(), fileBytes: file.fileBytes };
    } finally {
      await file.close();
    }
  } catch (error) {
    const endBytes = error instanceof NoodleError ? error.details["endBytes"] : undefined;
    if (!(error instanceof NoodleError) || error.code !== "GGUF_TRUNCATED" || typeof endBytes !== "number") throw error;
    return readIncomplete(path, endBytes);
  }
}

/** @param endBytes size that the file would have if it were complete */
async function readIncomplete(path: string, endBytes: number): Promise<ModelHeader> {
  const handle = await open(path, "r");
  try {
    const fileBytes = (await handle.stat()).size;
    const prefix = new Uint8Array(Math.min(fileBytes, MAX_PREFIX_BYTES));
    const { bytesRead } = await handle.read(prefix, 0, prefix.length, 0);
    const header = parseGgufHeader(prefix.subarray(0, bytesRead), endBytes, path);
    const headerBytes = header.shards[0]?.headerBytes ?? 0;
    const headerSha256 = createHash("sha256").update(prefix.subarray(0, headerBytes)).digest("hex");
    return { header, headerSha256, fileBytes };
  } finally {
    await handle.close();
  }
}
