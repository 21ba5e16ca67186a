import { basename } from "node:path";
import type { LayerRecord } from "../observe/index.ts";
import { type BadLine, foldLogs, type LogRows, type LogVisitor } from "../logs/index.ts";
import { Digester } from "./digest/digester.ts";
import type { RunDigest } from "./digest/run-digest.ts";
import type { ReportSource } from "./document.ts";
import { formatCount } from "./numbers.ts";

/** Bad lines that are named one by one; the rest is only counted. */
const MAX_NAMED = 3;
/** A stage's step in more segments than this is no measurement. */
const MAX_SEGMENTS = 200_000;

export interface ReadLogs {
  readonly digest: RunDigest | null;
  readonly sources: readonly ReportSource[];
}

/**
 * Reads a folder of logs down to its digest, in bounded memory. What can't be read is passed over and counted.
 *
 * @throws as `foldLogs`
 */
export async function digestLogs(folder: string, signal: AbortSignal | undefined): Promise<ReadLogs> {
  const digester = new Digester();
  const bad = new Map<string, BadLine[]>();
  const summary = await foldLogs([folder], makeVisitor(digester), {
    onBad: (line) => {
      const lines = bad.get(line.path) ?? [];
      if (lines.length < MAX_NAMED) lines.push(line);
      bad.set(line.path, lines);
    },
    ...(signal === undefined ? {} : { signal }),
  });
  const sources: ReportSource[] = summary.files.map(({ path, rows, badLines }) => ({
    name: `logs/${basename(path)}`,
    detail: describeFile(rows, badLines, bad.get(path) ?? []),
    damaged: badLines > 0,
  }));
  if (summary.missingRows > 0) {
    sources.push({
      name: "logs",
      detail: `${formatCount(summary.missingRows)} rows are missing by their numbers: dropped when they were written, or unreadable`,
      damaged: true,
    });
  }
  return { digest: digester.finish(), sources };
}

function makeVisitor(digester: Digester): LogVisitor {
  const parts = new PartJoiner((record, atMs) => digester.addLayer(record, atMs));
  return {
    onStep: (record, row) => digester.addStep(record, timeOf(row)),
    onLayer: (record, row) => parts.add(record, row),
    onRequest: (record, row) => digester.addRequest(record, timeOf(row)),
    onPlan: (record, row) => digester.addPlan(record, timeOf(row)),
    onNode: (record, row) => digester.addNode(record, timeOf(row)),
    onEvent: (record, row) => digester.addEvent(record, timeOf(row)),
  };
}

/** Puts a stage's segments together where they were written in several rows. */
class PartJoiner {
  readonly #give: (record: LayerRecord, atMs: number) => void;
  #open: LayerRecord | null = null;

  constructor(give: (record: LayerRecord, atMs: number) => void) {
    this.#give = give;
  }

  add(record: LayerRecord, row: LogRows["layer"]): void {
    const open = this.#open;
    const joined =
      open !== null && row.part > 0 && open.stepId === record.stepId && open.stage === record.stage
        ? { ...record, segments: [...open.segments, ...record.segments] }
        : record;
    const isLast = row.part + 1 >= row.parts || joined.segments.length > MAX_SEGMENTS;
    this.#open = isLast ? null : joined;
    if (isLast) this.#give(joined, timeOf(row));
  }
}

function timeOf(row: { readonly time_unix_ns: number }): number {
  return row.time_unix_ns / 1e6;
}

function describeFile(rows: number, badLines: number, named: readonly BadLine[]): string {
  const good = `${formatCount(rows)} row${rows === 1 ? "" : "s"}`;
  if (badLines === 0) return good;
  const lines = named.map(({ line, reason }) => `line ${line}: ${reason}`).join("; ");
  const more = badLines > named.length ? `; and ${formatCount(badLines - named.length)} more` : "";
  return `${good}; ${formatCount(badLines)} line${badLines === 1 ? "" : "s"} could not be read (${lines}${more})`;
}
