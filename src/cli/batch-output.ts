import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { rename, stat, truncate, writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import { type FileLock, tryLock } from "../cluster/stage-files/index.ts";
import { NoodleError } from "../common/index.ts";
import { isObject } from "./api-client.ts";
import { type BatchEntry, MAX_LINE_BYTES } from "./batch-input.ts";
import { readFileLines } from "./file-lines.ts";

/** A line of the output, as OpenAI's batches have it. */
export interface BatchRecord {
  readonly id: string;
  readonly custom_id: string | null;
  /** null where there was no answer. */
  readonly response: {
    readonly status_code: number;
    readonly request_id: string | null;
    readonly body: unknown;
  } | null;
  /** `line` tells requests without a custom_id apart. */
  readonly error: { readonly code: string; readonly message: string; readonly line: number | null } | null;
}

/** What was there before. */
interface Found {
  readonly customIds: Set<string>;
  /** Lines of the input that have no custom_id and are answered. */
  readonly lines: Set<number>;
  readonly failed: number;
  /** Length of all whole records. */
  readonly wholeBytes: number;
  /** The last record has no line feed. */
  readonly isOpen: boolean;
}

/** An answer may hold the log-probabilities of a long prompt. */
const MAX_RECORD_BYTES = 16 * MAX_LINE_BYTES;

/**
 * The output of a batch: grows by whole lines, and knows which requests have theirs. Whatever ends the process, the next
 * start finds whole lines and at most one half, which it takes away.
 */
export class BatchOutput {
  /** Bytes of a half-written line that were taken away at the start. */
  readonly repairedBytes: number;
  readonly #fd: number;
  readonly #lock: FileLock;
  readonly #found: Found;
  #failure: NoodleError | null = null;

  /**
   * @param options.retryFailed takes the lines of failed requests away, so that they run again
   * @throws NoodleError `USAGE` while another process writes to it, `FILE_UNREADABLE` when it holds something else
   */
  static async open(path: string, options: { readonly retryFailed: boolean }): Promise<BatchOutput> {
    const target = resolve(path);
    let lock: FileLock | undefined;
    try {
      lock = tryLock(`${target}.lock`);
    } catch (error) {
      throw NoodleError.from(error, "FILE_UNREADABLE");
    }
    if (lock === undefined) throw new NoodleError("USAGE", `another batch is writing to ${path}`);
    try {
      let found = await readRecords(target);
      const repairedBytes = found.size - found.wholeBytes;
      if (repairedBytes > 0) await truncate(target, found.wholeBytes);
      if (options.retryFailed && found.failed > 0) {
        await dropFailed(target);
        found = await readRecords(target);
      }
      const fd = openSync(target, "a");
      if (found.isOpen) writeSync(fd, "\n");
      return new BatchOutput(fd, lock, found, repairedBytes);
    } catch (error) {
      lock.release();
      throw NoodleError.from(error, "FILE_UNREADABLE");
    }
  }

  private constructor(fd: number, lock: FileLock, found: Found, repairedBytes: number) {
    this.#fd = fd;
    this.#lock = lock;
    this.#found = found;
    this.repairedBytes = repairedBytes;
  }

  /** Failed requests among those that were answered before. */
  get failedBefore(): number {
    return this.#found.failed;
  }

  has({ customId, line }: BatchEntry): boolean {
    return customId === null ? this.#found.lines.has(line) : this.#found.customIds.has(customId);
  }

  /** Adds a line, in one piece. @throws NoodleError `DISK_FULL`, `FILE_UNREADABLE` */
  append(record: BatchRecord): void {
    // Behind half a line there must not be another.
    if (this.#failure !== null) throw this.#failure;
    const bytes = Buffer.from(`${JSON.stringify(record)}\n`);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      this.#failure = NoodleError.from(error, "FILE_UNREADABLE");
      throw this.#failure;
    }
  }

  close(): void {
    fdatasyncSync(this.#fd);
    closeSync(this.#fd);
    this.#lock.release();
  }
}

/** @throws NoodleError `FILE_UNREADABLE` naming the first line that is no record */
async function readRecords(path: string): Promise<Found & { readonly size: number }> {
  const customIds = new Set<string>();
  const lines = new Set<number>();
  let [failed, wholeBytes, size] = [0, 0, 0];
  let isOpen = false;
  if (await isThere(path)) {
    for await (const { number, offset, sizeBytes, bytes, isEnded } of readFileLines(path, MAX_RECORD_BYTES)) {
      size = offset + sizeBytes + (isEnded ? 1 : 0);
      const record = readRecord(bytes);
      if (record === null && !isEnded) break;
      if (record === null) {
        throw new NoodleError("FILE_UNREADABLE", `${path} is no output of a batch: line ${number} (-o)`);
      }
      if (record.custom_id !== null) customIds.add(record.custom_id);
      else if (typeof record.error?.line === "number") lines.add(record.error.line);
      if (isFailed(record)) failed += 1;
      wholeBytes = size;
      isOpen = !isEnded;
    }
  }
  return { customIds, lines, failed, wholeBytes, size, isOpen };
}

function readRecord(bytes: Buffer | null): BatchRecord | null {
  if (bytes === null) return null;
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    if (!isObject(value) || !("response" in value) || !("error" in value)) return null;
    const { custom_id: customId, response, error } = value;
    if (typeof customId !== "string" && customId !== null) return null;
    const isResponse = isObject(response) && typeof response["status_code"] === "number";
    return isResponse || isObject(error) ? (value as unknown as BatchRecord) : null;
  } catch {
    return null;
  }
}

export function isFailed({ response }: BatchRecord): boolean {
  return response?.status_code !== 200;
}

/** Writes the good lines to another file first, which then takes the place of this one. */
async function dropFailed(path: string): Promise<void> {
  const half = `${path}.${process.pid}.partial`;
  await writeFile(half, readGoodLines(path));
  await rename(half, path);
}

async function* readGoodLines(path: string): AsyncGenerator<Buffer, void, undefined> {
  for await (const { bytes } of readFileLines(path, MAX_RECORD_BYTES)) {
    const record = readRecord(bytes);
    if (bytes !== null && record !== null && !isFailed(record)) yield Buffer.concat([bytes, Buffer.from("\n")]);
  }
}

async function isThere(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}
