import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import {
  type BadLine,
  findLogChains,
  LOG_STREAMS,
  LogCounter,
  type LogRow,
  type LogStream,
  type LogSummary,
  mergeLogs,
} from "../../logs/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { JsonLogSink, TextLogSink } from "../log-sinks.ts";
import type { Output } from "../output.ts";

interface LogsOptions {
  readonly json?: boolean;
  readonly request?: string;
  readonly stream?: readonly LogStream[];
  readonly since?: number;
  readonly until?: number;
}

/** What a request's story is made of. */
const REQUEST_STREAMS: readonly LogStream[] = ["request", "step", "layer"];
const MAX_BAD_SHOWN = 20;
const MAX_IDS_SHOWN = 10;
const MS_OF_UNIT: Readonly<Record<string, number>> = { ms: 1, s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7 };

export function addLogs(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "logs <paths...>",
    summary: "join the logs of a run in the order of time, or tell the story of one request",
    examples: [
      "noodle logs noodle-run-20261123-114501",
      "noodle logs logs/ --request 6f1d... --json",
      "noodle logs logs/coordinator.event.000000.jsonl --since 10m",
    ],
  })
    .option("--request <id>", "only this request: its start, each step with the stages' times, layers, its end")
    .option("--stream <names>", `only these of ${LOG_STREAMS.join(", ")}; several with commas`, parseStreams)
    .option("--since <time>", "from this time on: 2026-11-23T10:15:00Z, or 10m for ten minutes ago", (text) =>
      parseMomentMs(text, "--since"),
    )
    .option("--until <time>", "up to this time", (text) => parseMomentMs(text, "--until"))
    .action((paths: readonly string[], options: LogsOptions) => showLogs(openContext(host, options), paths, options));
}

async function showLogs(
  { out, host, signal }: CommandContext,
  paths: readonly string[],
  options: LogsOptions,
): Promise<void> {
  const wanted = chooseStreams(options);
  const found = await findLogChains(paths);
  const chains = found.filter(({ stream }) => stream === null || wanted.includes(stream));
  const counter = new LogCounter();
  const bad: BadLine[] = [];
  const headless: string[] = [];
  const ids = new Set<string>();
  const sink = out.json
    ? new JsonLogSink(host)
    : new TextLogSink(out, {
        showProducer: new Set(chains.map((chain) => chain.producer)).size > 1,
        showTotals: options.request !== undefined,
      });
  const merged = mergeLogs(chains, {
    counter,
    signal,
    onBad: (line) => {
      if (bad.length < MAX_BAD_SHOWN) bad.push(line);
    },
    onNoHeader: (path) => headless.push(path),
  });
  const isWanted = buildFilter(options, wanted);
  let shown = 0;
  for await (const rows of merged) {
    for (const row of rows) {
      if (options.request !== undefined && ids.size < MAX_IDS_SHOWN) for (const id of listRequests(row)) ids.add(id);
      if (!isWanted(row)) continue;
      shown += 1;
      sink.add(row);
    }
  }
  const summary = counter.summarise();
  sayWhatWasWrong(out, summary, bad, headless);
  if (summary.rows === 0 && summary.badLines > 0) {
    throw new NoodleError(
      "LOG_MALFORMED",
      `${paths.join(", ")}: ${summary.badLines} lines, and none of them a log row`,
    );
  }
  if (options.request !== undefined && shown === 0) throw refuseRequest(options.request, ids);
  sink.finish(summary, bad);
}

function chooseStreams({ request, stream }: LogsOptions): readonly LogStream[] {
  const wanted = stream ?? LOG_STREAMS;
  if (request === undefined) return wanted;
  const about = wanted.filter((name) => REQUEST_STREAMS.includes(name));
  if (about.length > 0) return about;
  throw new NoodleError(
    "USAGE",
    `--stream ${wanted.join(",")} has no rows of a request; ${REQUEST_STREAMS.join(", ")} have`,
  );
}

function buildFilter({ request, since, until }: LogsOptions, streams: readonly LogStream[]): (row: LogRow) => boolean {
  const schemas = new Set<string>(streams.map((stream) => `noodle.${stream}.v1`));
  return (row) =>
    schemas.has(row.schema) &&
    (since === undefined || row.time_unix_ns >= since * 1e6) &&
    (until === undefined || row.time_unix_ns <= until * 1e6) &&
    (request === undefined || listRequests(row).includes(request));
}

function listRequests(row: LogRow): readonly string[] {
  if ("request_ids" in row) return row.request_ids;
  return "request_id" in row ? [row.request_id] : [];
}

function refuseRequest(id: string, known: ReadonlySet<string>): NoodleError {
  const names = [...known].slice(0, MAX_IDS_SHOWN);
  const more = names.length < MAX_IDS_SHOWN ? "" : " and perhaps others";
  const there = names.length === 0 ? "they hold no requests" : `there are ${names.join(", ")}${more}`;
  return new NoodleError("USAGE", `--request ${id}: no row of it within these logs and times; ${there}`, {
    details: { request: id, known: names },
  });
}

function sayWhatWasWrong(out: Output, summary: LogSummary, bad: readonly BadLine[], headless: readonly string[]): void {
  for (const { path, line, reason } of bad) out.note(`${path}:${line}: ${reason}`);
  if (summary.badLines > 0) {
    const files = summary.files.filter((file) => file.badLines > 0).length;
    out.note(`${summary.badLines} bad lines in ${files} files were passed over; ${summary.rows} rows were good`);
  }
  for (const path of headless) out.note(`${path}: rows without a header`);
  for (const { schema, producerId, missingRows, firstSeq, lastSeq } of summary.streams) {
    if (missingRows > 0) {
      out.note(`${producerId}, ${schema}: ${missingRows} rows are missing between number ${firstSeq} and ${lastSeq}`);
    }
  }
}

/** @throws USAGE naming the streams that there are */
function parseStreams(text: string): readonly LogStream[] {
  return text.split(",").map((name) => {
    const stream = LOG_STREAMS.find((known) => known === name.trim());
    if (stream === undefined) {
      throw new NoodleError("USAGE", `--stream "${name}" is none of ${LOG_STREAMS.join(", ")}`);
    }
    return stream;
  });
}

/** Milliseconds since 1970. @throws USAGE naming `option` */
function parseMomentMs(text: string, option: string): number {
  const ago = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const moment =
    ago === null
      ? /^\d{4}-\d{2}-\d{2}/.test(text.trim())
        ? Date.parse(text.trim())
        : Number.NaN
      : Date.now() - Number(ago[1]) * (MS_OF_UNIT[ago[2] ?? ""] ?? Number.NaN);
  if (Number.isNaN(moment)) {
    throw new NoodleError("USAGE", `${option} "${text}" is no time such as 2026-11-23T10:15:00Z or 10m (ago)`);
  }
  return moment;
}
