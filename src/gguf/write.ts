import { createHash, randomUUID, type Hash } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { NoodleError } from "../common/index.ts";
import { encodeGgufHeader, type GgufTensorShape } from "./encode.ts";
import { fileError } from "./file-errors.ts";
import { tensorBytes } from "./ggml-types.ts";
import { alignUp } from "./layout.ts";
import { DEFAULT_ALIGNMENT, IO_CHUNK_BYTES } from "./limits.ts";
import { getAlignment } from "./metadata.ts";
import { quoteName } from "./text.ts";
import type { GgufMetadata, GgufValue } from "./types.ts";
import { ALIGNMENT_KEY, type GgufVersion, LATEST_VERSION } from "./wire.ts";

/** A tensor's bytes, whole or in pieces of any size; a function is called when the tensor's turn comes. */
export type GgufTensorData = Uint8Array | AsyncIterable<Uint8Array> | (() => AsyncIterable<Uint8Array>);

export interface GgufTensorInput extends GgufTensorShape {
  readonly data: GgufTensorData;
}

export interface WriteGgufOptions {
  readonly metadata: GgufMetadata;
  /**
   * Power of two from 8. Adds `general.alignment` where the metadata lack it and it is not 32.
   * @default what the metadata say
   */
  readonly alignment?: number;
  /** @default 3 */
  readonly version?: GgufVersion;
  /** In the order of the file. */
  readonly tensors: readonly GgufTensorInput[];
  /** Called after every write. */
  readonly onProgress?: (writtenBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal;
}

export interface WrittenGguf {
  readonly bytes: number;
  /** Hex, over the whole file. */
  readonly sha256: string;
}

/**
 * Writes a little-endian GGUF file under a temporary name beside `path`, and moves it there when it is safe on the
 * disk. Whatever goes wrong, `path` is as it was and nothing is left behind.
 *
 * @throws NoodleError `DISK_FULL`; `INTERRUPTED` by the signal; `GGUF_MALFORMED` when a tensor's data are not of the
 *   size that its shape says; `FILE_NOT_FOUND` for a folder that does not exist; otherwise as `encodeGgufHeader`, or
 *   what the data source threw
 */
export async function writeGguf(path: string, options: WriteGgufOptions): Promise<WrittenGguf> {
  const metadata = completeMetadata(options.metadata, options.alignment);
  const alignment = options.alignment ?? getAlignment(metadata);
  const version = options.version ?? LATEST_VERSION;
  const { header, dataBytes } = encodeGgufHeader({
    version,
    byteOrder: "little",
    alignment,
    metadata,
    tensors: options.tensors,
  });

  const temporaryPath = `${path}.${randomUUID()}.tmp`;
  const handle = await open(temporaryPath, "wx").catch((error: unknown) => {
    throw fileError(error, path);
  });
  try {
    const output = new HashedOutput(handle, path, header.length + dataBytes, options);
    try {
      await output.write(header);
      for (const tensor of options.tensors) {
        await writeTensor(output, tensor);
        await output.write(new Uint8Array(alignUp(output.bytes, alignment) - output.bytes));
      }
      await output.sync();
    } finally {
      await handle.close();
    }
    await moveIntoPlace(temporaryPath, path);
    return { bytes: output.bytes, sha256: output.digest() };
  } catch (error) {
    await rm(temporaryPath, { force: true });
    throw error;
  }
}

function completeMetadata(metadata: GgufMetadata, alignment: number | undefined): GgufMetadata {
  if (alignment === undefined || alignment === DEFAULT_ALIGNMENT || metadata.has(ALIGNMENT_KEY)) return metadata;
  return new Map<string, GgufValue>([...metadata, [ALIGNMENT_KEY, { type: "uint32", value: alignment }]]);
}

async function writeTensor(output: HashedOutput, { name, dims, type, data }: GgufTensorInput): Promise<void> {
  const what = `tensor ${quoteName(name)}`;
  const expectedBytes = tensorBytes(type, dims, what);
  const startBytes = output.bytes;
  const pieces = data instanceof Uint8Array ? [data] : typeof data === "function" ? data() : data;
  for await (const piece of pieces) {
    const givenBytes = output.bytes - startBytes + piece.length;
    if (givenBytes > expectedBytes) throw wrongSize(what, `${givenBytes} or more`, expectedBytes);
    await output.write(piece);
  }
  const givenBytes = output.bytes - startBytes;
  if (givenBytes !== expectedBytes) throw wrongSize(what, `${givenBytes}`, expectedBytes);
}

function wrongSize(what: string, given: string, expectedBytes: number): NoodleError {
  return new NoodleError("GGUF_MALFORMED", `${what}: ${given} bytes of data, its shape needs ${expectedBytes}`);
}

/** Writes forward only, hashing what it writes. */
class HashedOutput {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #totalBytes: number;
  readonly #options: Pick<WriteGgufOptions, "onProgress" | "signal">;
  readonly #hash: Hash = createHash("sha256");
  #bytes = 0;

  constructor(
    handle: FileHandle,
    path: string,
    totalBytes: number,
    options: Pick<WriteGgufOptions, "onProgress" | "signal">,
  ) {
    this.#handle = handle;
    this.#path = path;
    this.#totalBytes = totalBytes;
    this.#options = options;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      this.#throwIfAborted();
      const { bytesWritten } = await this.#attempt(() =>
        this.#handle.write(bytes, done, Math.min(IO_CHUNK_BYTES, bytes.length - done)),
      );
      this.#hash.update(bytes.subarray(done, done + bytesWritten));
      done += bytesWritten;
      this.#bytes += bytesWritten;
      this.#options.onProgress?.(this.#bytes, this.#totalBytes);
    }
  }

  async sync(): Promise<void> {
    this.#throwIfAborted();
    await this.#attempt(() => this.#handle.sync());
  }

  digest(): string {
    return this.#hash.digest("hex");
  }

  #throwIfAborted(): void {
    if (this.#options.signal?.aborted !== true) return;
    throw new NoodleError("INTERRUPTED", `${this.#path}: writing was stopped at ${this.#bytes} bytes`, {
      cause: this.#options.signal.reason,
    });
  }

  /** Only the file's own failures are translated; those of a data source are the caller's to name. */
  async #attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw fileError(error, this.#path);
    }
  }
}

async function moveIntoPlace(temporaryPath: string, path: string): Promise<void> {
  try {
    await rename(temporaryPath, path);
  } catch (error) {
    throw fileError(error, path);
  }
  await syncFolder(dirname(path));
}

/** Makes the new name outlive a power cut. Not every system lets a folder be opened; the file is complete either way. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => undefined);
  if (handle === undefined) return;
  try {
    await handle.sync().catch(() => undefined);
  } finally {
    await handle.close();
  }
}
