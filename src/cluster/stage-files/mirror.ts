import { type FileHandle, mkdir, open, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { must, NoodleError } from "../../common/index.ts";
import { crc32c } from "../../protocol/index.ts";
import { type FileRange, subtractRanges } from "./ranges.ts";

interface ProgressRecord extends FileRange {
  readonly crc32c: number;
}

/** Most bytes of a record that are believed: what one message carries. */
const MAX_RECORD_BYTES = 8 * 1024 * 1024;

/**
 * A model's shards as sparse files that hold only what has been fetched so far, each piece at its place, and a record
 * of the pieces with their CRC32C. Whoever opens it again, after a broken connection or a restart, goes on from there.
 */
export class ModelMirror {
  /** Of the first shard: what `openGguf` takes. */
  readonly modelPath: string;
  readonly #directory: string;
  readonly #shards: readonly FileHandle[];
  readonly #progress: FileHandle;
  readonly #have: FileRange[] = [];

  private constructor(directory: string, modelPath: string, shards: readonly FileHandle[], progress: FileHandle) {
    this.#directory = directory;
    this.modelPath = modelPath;
    this.#shards = shards;
    this.#progress = progress;
  }

  /** Opens or begins the mirror in `directory`; pieces whose CRC is not that of the record are forgotten. */
  static async open(directory: string, shardBytes: readonly number[]): Promise<ModelMirror> {
    const opened: FileHandle[] = [];
    try {
      await mkdir(directory, { recursive: true });
      for (const [index, bytes] of shardBytes.entries()) {
        const shard = await openOrCreate(join(directory, shardName(index, shardBytes.length)));
        opened.push(shard);
        await shard.truncate(bytes);
      }
      const progressPath = join(directory, "progress.jsonl");
      const progress = await open(progressPath, "a");
      opened.push(progress);
      const modelPath = join(directory, shardName(0, shardBytes.length));
      const mirror = new ModelMirror(directory, modelPath, opened.slice(0, -1), progress);
      await mirror.#resume(await readFile(progressPath, "utf8"), shardBytes);
      return mirror;
    } catch (error) {
      for (const handle of opened) await handle.close();
      throw NoodleError.from(error);
    }
  }

  /** What of `wanted` has still to be fetched. */
  missing(wanted: readonly FileRange[]): readonly FileRange[] {
    return subtractRanges(wanted, this.#have);
  }

  /** @throws DISK_FULL */
  async write(shard: number, offset: number, data: Uint8Array, checksum: number): Promise<void> {
    try {
      await writeAll(must(this.#shards[shard], `shard ${shard}`), data, offset);
      const record: ProgressRecord = { shard, offset, length: data.length, crc32c: checksum };
      await this.#progress.appendFile(`${JSON.stringify(record)}\n`);
    } catch (error) {
      throw NoodleError.from(error);
    }
    this.#have.push({ shard, offset, length: data.length });
  }

  /** A prefix of a shard that has been written. */
  async readPrefix(shard: number, length: number): Promise<Uint8Array> {
    return await readAll(must(this.#shards[shard], `shard ${shard}`), 0, length);
  }

  async close(): Promise<void> {
    for (const handle of [...this.#shards, this.#progress]) await handle.close();
  }

  /** Closes it and removes all that was fetched. */
  async remove(): Promise<void> {
    await this.close();
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #resume(text: string, shardBytes: readonly number[]): Promise<void> {
    for (const line of text.split("\n")) {
      const record = readRecord(line, shardBytes);
      if (record === undefined) continue;
      const { shard, offset, length } = record;
      const data = await readAll(must(this.#shards[shard], `shard ${shard}`), offset, length);
      if (crc32c(data) === record.crc32c) this.#have.push({ shard, offset, length });
    }
  }
}

function shardName(index: number, count: number): string {
  if (count === 1) return "model.gguf";
  const five = (value: number): string => String(value).padStart(5, "0");
  return `model-${five(index + 1)}-of-${five(count)}.gguf`;
}

/** The last line may be cut off, and any line may be damaged: what makes no sense is no record. */
function readRecord(line: string, shardBytes: readonly number[]): ProgressRecord | undefined {
  let value: Partial<ProgressRecord>;
  try {
    value = JSON.parse(line) as Partial<ProgressRecord>;
  } catch {
    return undefined;
  }
  const { shard = -1, offset = -1, length = -1, crc32c: checksum = -1 } = value;
  const limit = shardBytes[shard] ?? 0;
  const isSound = [offset, length, checksum].every((field) => Number.isSafeInteger(field) && field >= 0);
  if (!isSound || offset + length > limit || length > MAX_RECORD_BYTES) return undefined;
  return { shard, offset, length, crc32c: checksum };
}

/** For reading and writing, keeping what is there. */
async function openOrCreate(path: string): Promise<FileHandle> {
  try {
    return await open(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return await open(path, "w+");
  }
}

async function writeAll(handle: FileHandle, data: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < data.length; ) {
    const { bytesWritten } = await handle.write(data, done, data.length - done, offset + done);
    done += bytesWritten;
  }
}

async function readAll(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const data = new Uint8Array(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await handle.read(data, done, length - done, offset + done);
    if (bytesRead === 0) throw new NoodleError("GGUF_TRUNCATED", `a mirrored shard ends before ${offset + length}`);
    done += bytesRead;
  }
  return data;
}
