import { NoodleError } from "../common/index.ts";
import { readLines } from "./line-reader.ts";
import { parseRow } from "./parse-row.ts";
import type { LogHeader, LogRow } from "./schemas.ts";

/** A line that is no row, and was passed over. */
export interface BadLine {
  readonly path: string;
  /** From 1. */
  readonly line: number;
  readonly reason: string;
}

export interface ReadLogOptions {
  readonly onBad?: (line: BadLine) => void;
  /** Called in front of the rows that a header is for; once with null when a file's rows have none. */
  readonly onHeader?: (header: LogHeader | null) => void;
  readonly signal?: AbortSignal;
}

/**
 * The good rows of a log file, in order, some at a time: the quick way through a large file. Every row is held to its
 * schema. Memory does not grow with the file.
 *
 * @throws NoodleError `FILE_NOT_FOUND`, `FILE_UNREADABLE`; `LOG_VERSION` when its first row is of a schema that this
 *   release does not read (one that comes later is a bad line); the signal's reason
 */
export async function* readLogBatches(
  path: string,
  options: ReadLogOptions = {},
): AsyncGenerator<readonly LogRow[], void, void> {
  let isFirst = true;
  for await (const { firstNumber, lines, isCut } of readLines(path)) {
    options.signal?.throwIfAborted();
    const rows: LogRow[] = [];
    for (const [index, line] of lines.entries()) {
      const parsed = typeof line === "string" ? parseRow(line) : { type: "bad" as const, reason: line.problem };
      switch (parsed.type) {
        case "row":
          if (isFirst) options.onHeader?.(null);
          isFirst = false;
          rows.push(parsed.row);
          break;
        case "header":
          isFirst = false;
          options.onHeader?.(parsed.header);
          break;
        case "unknown-schema":
          if (isFirst) throw refuseVersion(path, parsed.schema);
          options.onBad?.({ path, line: firstNumber + index, reason: `unknown schema ${parsed.schema}` });
          break;
        case "bad": {
          const isHalf = isCut && index === lines.length - 1 && parsed.reason === "not JSON";
          options.onBad?.({ path, line: firstNumber + index, reason: isHalf ? "half-written" : parsed.reason });
          break;
        }
        default:
          parsed satisfies never;
      }
    }
    if (rows.length > 0) yield rows;
  }
}

/** The good rows of a log file one by one; see `readLogBatches`. */
export async function* readLog(path: string, options: ReadLogOptions = {}): AsyncGenerator<LogRow, void, void> {
  for await (const rows of readLogBatches(path, options)) yield* rows;
}

function refuseVersion(path: string, schema: string): NoodleError {
  return new NoodleError(
    "LOG_VERSION",
    `${path} holds rows of ${schema}, which this release does not read (noodle.step.v1 and its siblings are)`,
    { details: { path, schema } },
  );
}
