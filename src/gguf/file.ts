import { constants } from "node:buffer";
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { NoodleError } from "../common/index.ts";
import { fileError } from "./file-errors.ts";
import { IO_CHUNK_BYTES, checkLimit } from "./limits.ts";
import type { GgufHeader, GgufTensor } from "./types.ts";

/**
 * An open model: its checked header, and access to its bytes. Made by `openGguf`; the shards' files stay open until
 * `close`, so that what was checked is what is read, even if a path is replaced in the meantime.
 */
export class GgufFile {
  readonly header: GgufHeader;
  /** As it was given to `openGguf`. */
  readonly path: string;
  /** Sum over the shards. */
  readonly fileBytes: number;
  readonly #handles: readonly FileHandle[];
  readonly #tensors: ReadonlyMap<string, GgufTensor>;
  #closing: Promise<void> | undefined;

  /** @param handles one for each shard, in the header's order; owned by the file from here on. */
  constructor(path: string, header: GgufHeader, handles: readonly FileHandle[]) {
    this.path = path;
    this.header = header;
    this.fileBytes = header.shards.reduce((sum, shard) => sum + shard.bytes, 0);
    this.#handles = handles;
    this.#tensors = new Map(header.tensors.map((tensor) => [tensor.name, tensor]));
  }

  tensor(name: string): GgufTensor | undefined {
    return this.#tensors.get(name);
  }

  /** The tensor's bytes as they are in the file; owned by the caller. @throws as `readRange` */
  readTensor(tensor: GgufTensor): Promise<Uint8Array> {
    return this.readRange(tensor.shard, tensor.fileOffset, tensor.bytes);
  }

  /**
   * Reads a range of a shard's file into memory of its own.
   *
   * @throws NoodleError `ILLEGAL_STATE` after close; `GGUF_TRUNCATED` for a range that the file does not have;
   *   `GGUF_LIMIT_EXCEEDED` for one that no buffer holds (4 GiB on Node 20): stream it; `FILE_UNREADABLE`
   */
  async readRange(shard: number, offset: number, length: number): Promise<Uint8Array> {
    this.#handleOf(shard, offset, length);
    checkLimit(`${this.path}: bytes read at once`, length, constants.MAX_LENGTH);
    const bytes = new Uint8Array(length);
    await this.#fill(shard, offset, bytes);
    return bytes;
  }

  /**
   * Reads a range piece by piece. Each piece is the consumer's own.
   *
   * @param chunkBytes size of every piece but the last. @default 4 MiB
   * @throws as `readRange`
   */
  async *streamRange(
    shard: number,
    offset: number,
    length: number,
    chunkBytes = IO_CHUNK_BYTES,
  ): AsyncGenerator<Uint8Array, void, undefined> {
    this.#handleOf(shard, offset, length);
    if (!Number.isSafeInteger(chunkBytes) || chunkBytes < 1) {
      throw new NoodleError("USAGE", `chunkBytes is ${chunkBytes}, must be a whole number from 1`);
    }
    for (let done = 0; done < length; done += chunkBytes) {
      yield await this.readRange(shard, offset + done, Math.min(chunkBytes, length - done));
    }
  }

  /** Hex SHA-256 over the headers of all shards, without the padding behind them: names a model without reading its weights. */
  async headerSha256(): Promise<string> {
    const hash = createHash("sha256");
    for (const [shard, { headerBytes }] of this.header.shards.entries()) {
      for await (const chunk of this.streamRange(shard, 0, headerBytes)) hash.update(chunk);
    }
    return hash.digest("hex");
  }

  /** A read under way ends, or fails with `ILLEGAL_STATE` at its next piece. Closing twice is safe. */
  close(): Promise<void> {
    this.#closing ??= Promise.all(this.#handles.map((handle) => handle.close())).then(() => undefined);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Checks a range before anything is allocated for it. */
  #handleOf(shard: number, offset: number, length: number): FileHandle {
    if (this.#closing !== undefined) throw new NoodleError("ILLEGAL_STATE", `${this.path}: read after close`);
    const handle = this.#handles[shard];
    const fileBytes = this.header.shards[shard]?.bytes;
    if (handle === undefined || fileBytes === undefined) {
      throw new NoodleError("ILLEGAL_STATE", `${this.path}: shard ${shard} of ${this.#handles.length}`);
    }
    const isRange = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
    if (!isRange || offset + length > fileBytes) {
      throw new NoodleError(
        "GGUF_TRUNCATED",
        `${this.path}: ${length} bytes at ${offset} wanted, shard ${shard} has ${fileBytes}`,
        { details: { shard, offset, length, fileBytes } },
      );
    }
    return handle;
  }

  async #fill(shard: number, offset: number, bytes: Uint8Array): Promise<void> {
    let done = 0;
    while (done < bytes.length) {
      const handle = this.#handleOf(shard, offset + done, bytes.length - done);
      const wanted = Math.min(IO_CHUNK_BYTES, bytes.length - done);
      const { bytesRead } = await handle.read(bytes, done, wanted, offset + done).catch((error: unknown) => {
        throw fileError(error, this.path);
      });
      if (bytesRead === 0) {
        throw new NoodleError("GGUF_TRUNCATED", `${this.path}: the file became shorter while it was open`, {
          details: { shard, offset: offset + done },
        });
      }
      done += bytesRead;
    }
  }
}
