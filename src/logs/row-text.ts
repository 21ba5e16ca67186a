import { type ClockAnchor, toUnixNs } from "./clock.ts";
import type { QueuedRow } from "./row-queue.ts";
import type { LogLine } from "./stream-file.ts";
import { type LogStream, MAX_LINE_BYTES, nameSchema } from "./streams.ts";

/** Makes the lines of one stream: the keys that all rows have in common, then the row's own. */
export class RowText {
  readonly #anchor: ClockAnchor;
  /** Beginning of every line, up to the value of `seq`. */
  readonly #prefix: string;

  constructor(stream: LogStream, runId: string, producerId: string, anchor: ClockAnchor) {
    this.#anchor = anchor;
    this.#prefix = `{"schema":"${nameSchema(stream)}","run_id":${JSON.stringify(runId)},"producer_id":${JSON.stringify(producerId)},"seq":`;
  }

  /** @param body has one key at least @throws what `JSON.stringify` throws */
  render(seq: number, monoNs: number, body: object): string {
    const unixNs = toUnixNs(this.#anchor, monoNs);
    return `${this.#prefix}${seq},"mono_ns":${monoNs},"time_unix_ns":${unixNs},${JSON.stringify(body).slice(1)}\n`;
  }

  /** Leaves out rows that can't be said in a line, and counts them. */
  renderAll(rows: readonly QueuedRow[]): { readonly lines: readonly LogLine[]; readonly leftOut: number } {
    const lines: LogLine[] = [];
    for (const { seq, monoNs, body } of rows) {
      const text = this.#tryRender(seq, monoNs, body);
      const bytes = text === null ? Number.POSITIVE_INFINITY : Buffer.byteLength(text);
      if (text !== null && bytes <= MAX_LINE_BYTES) lines.push({ text, bytes, seq });
    }
    return { lines, leftOut: rows.length - lines.length };
  }

  #tryRender(seq: number, monoNs: number, body: object): string | null {
    try {
      return this.render(seq, monoNs, body);
    } catch {
      // Details of an event may hold what JSON can't say: a circle, a bigint.
      return null;
    }
  }
}
