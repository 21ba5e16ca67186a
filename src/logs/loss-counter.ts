import type { EventRecord } from "../observe/index.ts";
import type { LogStream } from "./streams.ts";

const REPORT_INTERVAL_NS = 1e9;

/** Counts rows that were not written, and says so in one event for all since the last, once a second at most. */
export class LossCounter {
  #total = 0;
  #unreported = new Map<LogStream, number>();
  #lastReportNs = Number.NEGATIVE_INFINITY;

  get total(): number {
    return this.#total;
  }

  add(stream: LogStream, rows: number): void {
    if (rows === 0) return;
    this.#total += rows;
    this.#unreported.set(stream, (this.#unreported.get(stream) ?? 0) + rows);
  }

  /** @param isIdle nothing waits any more: what is left to report is reported now */
  takeReport(monoNs: number, isIdle: boolean): EventRecord | null {
    if (this.#unreported.size === 0) return null;
    if (!isIdle && monoNs - this.#lastReportNs < REPORT_INTERVAL_NS) return null;
    this.#lastReportNs = monoNs;
    const byStream = Object.fromEntries(this.#unreported);
    const rows = [...this.#unreported.values()].reduce((sum, count) => sum + count, 0);
    this.#unreported = new Map();
    return {
      name: "log.rows_lost",
      severity: "warning",
      nodeId: null,
      message: `${rows} rows were not written: more came than the log could take`,
      details: { rows, rows_by_stream: byStream },
    };
  }
}
