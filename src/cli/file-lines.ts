import { createReadStream } from "node:fs";
import { NoodleError } from "../common/index.ts";

/** One line of a file, without its line feed. */
export interface FileLine {
  /** From 1. */
  readonly number: number;
  /** Where it begins. */
  readonly offset: number;
  /** Length without the line feed, also where `bytes` is null. */
  readonly sizeBytes: number;
  /** null where it is longer than the limit. */
  readonly bytes: Buffer | null;
  /** False for a last line that no line feed ends. */
  readonly isEnded: boolean;
}

const LINE_FEED = 10;

/**
 * Reads a file line by line, as bytes, holding no more than one line of `maxBytes`. An empty rest behind the last line
 * feed is no line.
 *
 * @throws NoodleError `FILE_NOT_FOUND`, `FILE_UNREADABLE`
 */
export async function* readFileLines(path: string, maxBytes: number): AsyncGenerator<FileLine, void, undefined> {
  let pieces: Buffer[] = [];
  let sizeBytes = 0;
  let number = 1;
  let offset = 0;
  const endLine = (isEnded: boolean): FileLine => {
    const line = { number, offset, sizeBytes, bytes: sizeBytes > maxBytes ? null : Buffer.concat(pieces), isEnded };
    number += 1;
    offset += sizeBytes + 1;
    pieces = [];
    sizeBytes = 0;
    return line;
  };
  const take = (piece: Buffer): void => {
    sizeBytes += piece.length;
    if (sizeBytes <= maxBytes) pieces.push(piece);
    else pieces = [];
  };
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 18 }) as AsyncIterable<Buffer>) {
      let from = 0;
      for (let at = chunk.indexOf(LINE_FEED); at >= 0; at = chunk.indexOf(LINE_FEED, from)) {
        take(chunk.subarray(from, at));
        yield endLine(true);
        from = at + 1;
      }
      take(chunk.subarray(from));
    }
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
  if (sizeBytes > 0) yield endLine(false);
}
