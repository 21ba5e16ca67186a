import { isUtf8 } from "node:buffer";
import { open } from "node:fs/promises";
import { NoodleError } from "../common/index.ts";
import { MAX_LINE_BYTES } from "./streams.ts";

/** A line that is no text that can be looked at. */
export interface UnreadableLine {
  readonly problem: "longer than 1 MiB" | "not UTF-8";
}

/** Some lines of a file, in order, without their line breaks. */
export interface LineBatch {
  /** From 1. */
  readonly firstNumber: number;
  readonly lines: readonly (string | UnreadableLine)[];
  /** The file ends without a line break behind the last of these. */
  readonly isCut: boolean;
}

const CHUNK_BYTES = 2 ** 18;
const LINE_BREAK = 0x0a;
/** Bytes that one UTF-16 unit takes at most. */
const MAX_UTF8_PER_UNIT = 3;
const TOO_LONG: UnreadableLine = { problem: "longer than 1 MiB" };
const NOT_UTF8: UnreadableLine = { problem: "not UTF-8" };

/**
 * Reads a file by lines, in memory that does not depend on the file: a line of more than `MAX_LINE_BYTES` is passed
 * over and told of, and so is one that is not UTF-8.
 *
 * @throws NoodleError `FILE_NOT_FOUND`, `FILE_UNREADABLE`
 */
export async function* readLines(path: string): AsyncGenerator<LineBatch, void, void> {
  const handle = await open(path, "r").catch((error: unknown) => {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  });
  try {
    // Grows with the longest line, at most to one that is too long.
    let buffer = Buffer.allocUnsafe(2 * CHUNK_BYTES);
    let filled = 0;
    let number = 1;
    let isPassing = false;
    for (;;) {
      if (filled + CHUNK_BYTES > buffer.length) buffer = Buffer.concat([buffer.subarray(0, filled)], 2 * buffer.length);
      const { bytesRead } = await handle.read(buffer, filled, CHUNK_BYTES, null).catch((error: unknown) => {
        throw NoodleError.from(error, "FILE_UNREADABLE");
      });
      filled += bytesRead;
      if (isPassing) {
        const end = buffer.subarray(0, filled).indexOf(LINE_BREAK);
        if (end === -1) {
          filled = 0;
          if (bytesRead === 0) return;
          continue;
        }
        buffer.copyWithin(0, end + 1, filled);
        filled -= end + 1;
        isPassing = false;
      }
      const end = buffer.subarray(0, filled).lastIndexOf(LINE_BREAK) + 1;
      if (end > 0) {
        const lines = splitBlock(buffer.subarray(0, end - 1));
        yield { firstNumber: number, lines, isCut: false };
        number += lines.length;
        buffer.copyWithin(0, end, filled);
        filled -= end;
      }
      if (bytesRead === 0) {
        if (filled > 0) {
          yield { firstNumber: number, lines: splitBlock(buffer.subarray(0, filled)), isCut: true };
        }
        return;
      }
      if (filled > MAX_LINE_BYTES) {
        yield { firstNumber: number, lines: [TOO_LONG], isCut: false };
        number += 1;
        filled = 0;
        isPassing = true;
      }
    }
  } finally {
    await handle.close();
  }
}

/** @param block whole lines, the last without its break */
function splitBlock(block: Buffer): (string | UnreadableLine)[] {
  if (isUtf8(block)) return block.toString("utf8").split("\n").map(checkLength);
  const lines: (string | UnreadableLine)[] = [];
  for (let from = 0; from <= block.length; ) {
    const found = block.indexOf(LINE_BREAK, from);
    const end = found === -1 ? block.length : found;
    const line = block.subarray(from, end);
    lines.push(isUtf8(line) ? checkLength(line.toString("utf8")) : NOT_UTF8);
    from = end + 1;
  }
  return lines;
}

function checkLength(line: string): string | UnreadableLine {
  const isLong = line.length * MAX_UTF8_PER_UNIT > MAX_LINE_BYTES && Buffer.byteLength(line) > MAX_LINE_BYTES;
  return isLong ? TOO_LONG : line;
}
