import { NoodleError } from "../common/index.ts";
import type { EventRecord } from "../observe/index.ts";
import { type LogClock, SYSTEM_LOG_CLOCK } from "./clock.ts";
import type { LogFacts } from "./header.ts";
import { type LogFileSystem, SYSTEM_LOG_FILES } from "./log-files.ts";

export interface LogWriterOptions {
  /** Created when it is not there. Several producers may share it. */
  readonly directory: string;
  /** Who writes: `coordinator`, or a node's id. In file names, what is no letter, digit, `_` or `-` becomes `-`. */
  readonly producerId: string;
  /** Names this run of the process in every row. */
  readonly runId: string;
  readonly facts: LogFacts;
  /** A file grows to this size, in bytes. @default 67108864 (64 MiB) */
  readonly segmentBytes?: number;
  /** Files that are kept of each stream, the oldest go first. @default 16 */
  readonly keepSegments?: number;
  /** Rows that may wait to be written; what comes beyond is dropped and counted. @default 32768 */
  readonly maxQueuedRows?: number;
  /** Bytes that may wait to be written, by estimate. @default 8388608 (8 MiB) */
  readonly maxQueuedBytes?: number;
  /** How long a row may wait for others to be written with. @default 100 */
  readonly flushMs?: number;
  /** Pause behind a failed write. @default 5000 */
  readonly retryMs?: number;
  /**
   * Told when rows can't be written, once for each outage (`log.write_failed`), and when rows were lost
   * (`log.rows_lost`, once a second at most). The same events are rows of stream `event`. Must not throw.
   */
  readonly onProblem?: (event: EventRecord) => void;
  readonly clock?: LogClock;
  readonly files?: LogFileSystem;
}

export type CompiledLogOptions = Required<LogWriterOptions>;

/** @throws NoodleError `USAGE` naming the option that is no whole number of at least one */
export function compileLogOptions(options: LogWriterOptions): CompiledLogOptions {
  const compiled = {
    segmentBytes: 64 * 2 ** 20,
    keepSegments: 16,
    maxQueuedRows: 2 ** 15,
    maxQueuedBytes: 8 * 2 ** 20,
    flushMs: 100,
    retryMs: 5000,
    onProblem: () => undefined,
    clock: SYSTEM_LOG_CLOCK,
    files: SYSTEM_LOG_FILES,
    ...options,
  };
  for (const name of [
    "segmentBytes",
    "keepSegments",
    "maxQueuedRows",
    "maxQueuedBytes",
    "flushMs",
    "retryMs",
  ] as const) {
    if (!Number.isSafeInteger(compiled[name]) || compiled[name] < 1) {
      throw new NoodleError("USAGE", `log option ${name} is ${compiled[name]}, not a whole number of at least 1`);
    }
  }
  return compiled;
}
