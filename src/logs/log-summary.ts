import type { LogHeader, LogRow } from "./schemas.ts";

export interface LogFileSummary {
  readonly path: string;
  readonly rows: number;
  readonly badLines: number;
  /** Of its first header; null when its rows have none. */
  readonly header: LogHeader | null;
}

/** One stream of one run of one producer. */
export interface LogStreamSummary {
  readonly schema: string;
  readonly producerId: string;
  readonly runId: string;
  readonly rows: number;
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** Numbers between the first and the last that no row has: lost when written, or unreadable. */
  readonly missingRows: number;
}

export interface LogSummary {
  readonly files: readonly LogFileSummary[];
  readonly streams: readonly LogStreamSummary[];
  readonly rows: number;
  readonly badLines: number;
  readonly missingRows: number;
}

/** Beyond this many the streams are not told apart: only bytes that nobody's producer wrote have so many. */
const MAX_STREAMS = 4096;

interface MutableStream {
  readonly schema: string;
  readonly producerId: string;
  readonly runId: string;
  rows: number;
  firstSeq: number;
  lastSeq: number;
  missingRows: number;
}

/** Counts what goes by while logs are read. Memory is bounded by the number of files. */
export class LogCounter {
  readonly #files = new Map<string, { rows: number; badLines: number; header: LogHeader | null }>();
  readonly #streams = new Map<string, MutableStream>();
  #last: MutableStream | null = null;

  openFile(path: string): void {
    if (!this.#files.has(path)) this.#files.set(path, { rows: 0, badLines: 0, header: null });
  }

  addHeader(path: string, header: LogHeader): void {
    const file = this.#files.get(path);
    if (file !== undefined) file.header ??= header;
  }

  addBad(path: string): void {
    const file = this.#files.get(path);
    if (file !== undefined) file.badLines += 1;
  }

  addRows(path: string, rows: readonly LogRow[]): void {
    const file = this.#files.get(path);
    if (file !== undefined) file.rows += rows.length;
    for (const row of rows) this.#addRow(row);
  }

  summarise(): LogSummary {
    const files = [...this.#files].map(([path, file]) => ({ path, ...file }));
    const streams = [...this.#streams.values()].map((stream) => ({ ...stream }));
    return {
      files,
      streams,
      rows: files.reduce((sum, file) => sum + file.rows, 0),
      badLines: files.reduce((sum, file) => sum + file.badLines, 0),
      missingRows: streams.reduce((sum, stream) => sum + stream.missingRows, 0),
    };
  }

  #addRow(row: LogRow): void {
    const stream = this.#streamOf(row);
    if (stream === null) return;
    stream.rows += 1;
    // A number that was there before is a file that was given twice: nothing is missing for it.
    if (row.seq > stream.lastSeq + 1) stream.missingRows += row.seq - stream.lastSeq - 1;
    stream.lastSeq = Math.max(stream.lastSeq, row.seq);
  }

  #streamOf(row: LogRow): MutableStream | null {
    const last = this.#last;
    if (
      last !== null &&
      last.schema === row.schema &&
      last.runId === row.run_id &&
      last.producerId === row.producer_id
    ) {
      return last;
    }
    const key = JSON.stringify([row.schema, row.producer_id, row.run_id]);
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      if (this.#streams.size >= MAX_STREAMS) return null;
      stream = {
        schema: row.schema,
        producerId: row.producer_id,
        runId: row.run_id,
        rows: 0,
        firstSeq: row.seq,
        lastSeq: row.seq - 1,
        missingRows: 0,
      };
      this.#streams.set(key, stream);
    }
    this.#last = stream;
    return stream;
  }
}
