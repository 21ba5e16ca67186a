import { must, NoodleError } from "../common/index.ts";
import type { LogFile, LogFileSystem } from "./log-files.ts";
import { formatLogFileName, type LogStream } from "./streams.ts";

/** A row as it is written, line break included. */
export interface LogLine {
  readonly text: string;
  readonly bytes: number;
  readonly seq: number;
}

/** Lines on their way to a file; those before `next` have been written. */
export interface LogChunk {
  readonly lines: readonly LogLine[];
  next: number;
}

export interface StreamFileOptions {
  readonly files: LogFileSystem;
  readonly directory: string;
  /** As in file names. */
  readonly producer: string;
  readonly stream: LogStream;
  readonly segmentBytes: number;
  readonly keepSegments: number;
  /** Indices of this chain's files in the folder, ascending. */
  readonly existing: readonly number[];
  /** @returns the header's line for a file whose first row has number `firstSeq` */
  buildHeader(fileIndex: number, firstSeq: number): string;
}

interface OpenSegment {
  readonly file: LogFile;
  positionBytes: number;
  rows: number;
}

const MAX_NAME_TRIES = 10_000;
/** These pass when space is made; the same file is then good again. */
const SPACE_ERRORS: readonly unknown[] = ["ENOSPC", "EDQUOT"];

/**
 * One stream's chain of files. A file is begun by the first row that needs it, closed when the next row would make it
 * larger than a segment, and removed when it is older than the newest `keepSegments`. After a failed `append` the same
 * chunk may be given again: what was written is not written twice, and no half line stays in front of a whole one.
 */
export class StreamFile {
  readonly #options: StreamFileOptions;
  readonly #kept: number[];
  #nextIndex: number;
  #segment: OpenSegment | null = null;
  #bytesWritten = 0;

  constructor(options: StreamFileOptions) {
    this.#options = options;
    this.#kept = [...options.existing];
    this.#nextIndex = (options.existing.at(-1) ?? -1) + 1;
  }

  /** Of all files of this run, headers included. */
  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  /** Writes the rest of a chunk, in order. @throws the file system's error; `chunk.next` then tells how far it came */
  async append(chunk: LogChunk): Promise<void> {
    while (chunk.next < chunk.lines.length) {
      const segment = await this.#openFor(must(chunk.lines[chunk.next], "line"));
      const end = this.#findEnd(chunk, segment);
      const bytes = Buffer.from(joinLines(chunk.lines, chunk.next, end));
      try {
        await segment.file.write(bytes, segment.positionBytes);
      } catch (error) {
        await this.#retreat(segment, error);
        throw error;
      }
      segment.positionBytes += bytes.length;
      segment.rows += end - chunk.next;
      this.#bytesWritten += bytes.length;
      chunk.next = end;
    }
  }

  /** Closes the file that is open; the next row begins another. */
  async close(): Promise<void> {
    const segment = this.#segment;
    this.#segment = null;
    await segment?.file.close();
  }

  async #openFor(line: LogLine): Promise<OpenSegment> {
    const { segmentBytes } = this.#options;
    const current = this.#segment;
    if (current !== null && (current.rows === 0 || current.positionBytes + line.bytes <= segmentBytes)) return current;
    await this.close();
    const { file, index } = await this.#create();
    const header = Buffer.from(this.#options.buildHeader(index, line.seq));
    try {
      await file.write(header, 0);
    } catch (error) {
      // A file without header is no use: an outage that goes on would leave one for each try.
      await ignoreFailure(file.close());
      await ignoreFailure(this.#remove(index));
      throw error;
    }
    const segment = { file, positionBytes: header.length, rows: 0 };
    this.#segment = segment;
    this.#bytesWritten += header.length;
    this.#nextIndex = index + 1;
    this.#kept.push(index);
    await this.#removeOld();
    return segment;
  }

  /** At least one line, and as many more as the segment has room for. */
  #findEnd(chunk: LogChunk, segment: OpenSegment): number {
    let bytes = segment.positionBytes;
    let end = chunk.next;
    for (; end < chunk.lines.length; end += 1) {
      bytes += must(chunk.lines[end], "line").bytes;
      if (bytes > this.#options.segmentBytes && end > chunk.next) break;
    }
    return end;
  }

  async #create(): Promise<{ readonly file: LogFile; readonly index: number }> {
    const { files, directory } = this.#options;
    for (let index = this.#nextIndex; index < this.#nextIndex + MAX_NAME_TRIES; index += 1) {
      try {
        return { file: await files.create(directory, this.#name(index)), index };
      } catch (error) {
        if (readErrno(error) !== "EEXIST") throw error;
      }
    }
    throw new NoodleError(
      "FILE_UNREADABLE",
      `${directory} already has ${this.#name(this.#nextIndex)} and the ${MAX_NAME_TRIES} files that would follow it`,
    );
  }

  async #retreat(segment: OpenSegment, error: unknown): Promise<void> {
    // Readers take a half line as one bad line; without it there is nothing to take.
    await ignoreFailure(segment.file.truncate(segment.positionBytes));
    if (SPACE_ERRORS.includes(readErrno(error))) return;
    this.#segment = null;
    await ignoreFailure(segment.file.close());
  }

  async #removeOld(): Promise<void> {
    while (this.#kept.length > this.#options.keepSegments) {
      const oldest = must(this.#kept[0], "segment");
      try {
        await this.#remove(oldest);
      } catch (error) {
        // Somebody else's hand: gone is gone, and what can't be removed now is tried again with the next file.
        if (readErrno(error) !== "ENOENT") return;
      }
      this.#kept.shift();
    }
  }

  #remove(index: number): Promise<void> {
    return this.#options.files.remove(this.#options.directory, this.#name(index));
  }

  #name(index: number): string {
    const { producer, stream } = this.#options;
    return formatLogFileName({ producer, stream, index });
  }
}

function joinLines(lines: readonly LogLine[], from: number, end: number): string {
  let joined = "";
  for (let index = from; index < end; index += 1) joined += must(lines[index], "line").text;
  return joined;
}

function readErrno(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

/** For a second failure on the way out of a first one: the first is the one to tell. */
async function ignoreFailure(work: Promise<void>): Promise<void> {
  await work.catch(() => undefined);
}
