import { type FileHandle, open, stat } from "node:fs/promises";
import { must, NoodleError } from "../common/index.ts";
import { PrefixTooShort } from "./byte-reader.ts";
import { fileError } from "./file-errors.ts";
import { GgufFile } from "./file.ts";
import { FIRST_PREFIX_BYTES, IO_CHUNK_BYTES, MAX_HEADER_BYTES } from "./limits.ts";
import { parseGgufHeader } from "./parse.ts";
import { readPreamble } from "./preamble.ts";
import { listShardPaths, mergeShardHeaders, readSplitPosition } from "./shards.ts";
import type { GgufHeader } from "./types.ts";

/** A parse that found the prefix too short is repeated with one so many times as long. */
const PREFIX_GROWTH = 4;

interface OpenShard {
  readonly handle: FileHandle;
  readonly header: GgufHeader;
}

/**
 * Opens a model, reads and checks its header (not its weights). Of a sharded model any shard may be named; the others
 * are taken from the same folder.
 *
 * @throws NoodleError `FILE_NOT_FOUND` and `FILE_UNREADABLE` naming the file (a shard's, too); `GGUF_WRONG_ENDIAN` for
 *   a big-endian model; otherwise as `parseGgufHeader`
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const handles: FileHandle[] = [];
  try {
    const given = await openShard(path, handles);
    const position = readSplitPosition(given.header, path);
    if (position === undefined) return new GgufFile(path, given.header, [given.handle]);

    const shards: OpenShard[] = [];
    for (const [index, shardPath] of listShardPaths(path, position).entries()) {
      shards.push(index === position.no ? given : await openShard(shardPath, handles));
    }
    const [first, ...others] = shards.map((shard) => shard.header);
    const header = mergeShardHeaders(must(first, "first shard"), others);
    return new GgufFile(
      path,
      header,
      shards.map((shard) => shard.handle),
    );
  } catch (error) {
    await Promise.all(handles.map((handle) => handle.close()));
    throw error;
  }
}

/** @param handles gets the opened file at once, so that the caller can close it whatever follows. */
async function openShard(path: string, handles: FileHandle[]): Promise<OpenShard> {
  try {
    // Asked before opening: opening a named pipe would wait for its writer.
    const info = await stat(path);
    if (!info.isFile()) throw new NoodleError("FILE_UNREADABLE", `${path}: not a regular file`, { details: { path } });
    const handle = await open(path, "r");
    handles.push(handle);
    const fileBytes = (await handle.stat()).size;
    return { handle, header: await readHeader(handle, fileBytes, path) };
  } catch (error) {
    throw fileError(error, path);
  }
}

/** Most headers are small and some are not, and none says how long it is: takes longer prefixes until one is enough. */
async function readHeader(handle: FileHandle, fileBytes: number, path: string): Promise<GgufHeader> {
  const longest = Math.min(fileBytes, MAX_HEADER_BYTES);
  let prefixBytes = Math.min(longest, FIRST_PREFIX_BYTES);
  for (;;) {
    const prefix = await readPrefix(handle, prefixBytes, path);
    if (readPreamble(prefix, fileBytes, path).byteOrder === "big") {
      throw new NoodleError("GGUF_WRONG_ENDIAN", `${path}: a big-endian model; the engine reads little-endian ones`, {
        details: { path },
      });
    }
    try {
      return parseGgufHeader(prefix, fileBytes, path);
    } catch (error) {
      if (!(error instanceof PrefixTooShort)) throw error;
      prefixBytes = Math.min(longest, Math.max(error.neededBytes, prefixBytes * PREFIX_GROWTH));
    }
  }
}

async function readPrefix(handle: FileHandle, length: number, path: string): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(bytes, done, Math.min(IO_CHUNK_BYTES, length - done), done);
    if (bytesRead === 0) {
      throw new NoodleError("GGUF_TRUNCATED", `${path}: the file became shorter while it was read`, {
        details: { path },
      });
    }
    done += bytesRead;
  }
  return bytes;
}
