import { resolve } from "node:path";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import type { ApiClient } from "../api-client.ts";
import { addApiTargetOptions, type ApiTargetOptions, withApi } from "../api-target.ts";
import { type BatchEntry, BatchReader, scanBatch } from "../batch-input.ts";
import { BatchOutput } from "../batch-output.ts";
import { type BatchTotals, runBatch } from "../batch-run.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { parseDurationMs, parseInteger } from "../quantities.ts";
import { wait } from "../waiting.ts";

interface BatchOptions extends ApiTargetOptions {
  readonly json?: boolean;
  readonly out: string;
  readonly model?: string;
  readonly concurrency: number;
  readonly retryFor?: number;
  readonly retryFailed?: boolean;
}

/** What one invocation has to do. */
interface BatchJob {
  readonly input: string;
  readonly options: BatchOptions;
  readonly reader: BatchReader;
  readonly output: BatchOutput;
}

const DEFAULT_CONCURRENCY = 8;
const MAX_CONCURRENCY = 1024;
const DEFAULT_PATIENCE_MS = 600_000;
const BAR_CELLS = 24;

export function addBatch(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "batch <input>",
    summary: "answer a file of requests (OpenAI's batch format), and go on where it was interrupted",
    examples: [
      "noodle batch in.jsonl -o out.jsonl",
      "noodle batch in.jsonl -o out.jsonl --model model.gguf --workers 2",
      "noodle batch in.jsonl -o out.jsonl --coordinator http://10.0.0.5:7420 --concurrency 16",
    ],
  })
    .requiredOption("-o, --out <file>", "answers, a line each as they come; those that are there are kept")
    .option("--model <file>", "start a cluster with this model on this machine for the batch")
    .option(
      "--concurrency <n>",
      "requests at once",
      (text) => parseInteger(text, "--concurrency", 1, MAX_CONCURRENCY),
      DEFAULT_CONCURRENCY,
    )
    .option(
      "--retry-for <time>",
      "how long a request that is put off (429, 503, no connection) is tried again (default: 10m)",
      (text) => parseDurationMs(text, "--retry-for"),
    )
    .option("--retry-failed", "run requests again whose answer is an error");
  addApiTargetOptions(command)
    .addHelpText(
      "after",
      [
        "",
        "Each line of the input is {custom_id, method, url, body}, each of the output {id, custom_id, response, error}.",
        "Answers with another status than 200 are answers: the exit code is 0 when every line has one.",
        "Interrupted, the same command goes on: no line is lost or doubled.",
      ].join("\n"),
    )
    .action((input: string, options: BatchOptions) => batch(openContext(host, options), input, options));
}

async function batch(context: CommandContext, input: string, options: BatchOptions): Promise<void> {
  if (resolve(input) === resolve(options.out)) throw new NoodleError("USAGE", "-o is the input itself");
  const entries = await scanBatch(input);
  if (entries.length === 0) throw new NoodleError("USAGE", `${input} has no requests`);
  const output = await BatchOutput.open(options.out, { retryFailed: options.retryFailed === true });
  try {
    const reader = await BatchReader.open(input);
    try {
      const pending = entries.filter((entry) => !output.has(entry));
      await answerAll(context, { input, options, reader, output }, pending, entries.length);
    } finally {
      await reader.close();
    }
  } finally {
    output.close();
  }
}

async function answerAll(
  context: CommandContext,
  job: BatchJob,
  pending: readonly BatchEntry[],
  lines: number,
): Promise<void> {
  const { out, signal } = context;
  const { options, output } = job;
  if (output.repairedBytes > 0) out.note(`a half-written line of ${output.repairedBytes} bytes was taken away`);
  const skipped = lines - pending.length;
  if (skipped > 0) out.note(`${skipped} of ${lines} requests are answered already`);
  const startMs = context.host.nowMs();
  let totals: BatchTotals = EMPTY;
  if (pending.length > 0) {
    totals = await withApi(context, options.model, options, (client) =>
      sendAll(context, { ...job, client, pending, skipped }),
    );
  }
  signal.throwIfAborted();
  const wallMs = context.host.nowMs() - startMs;
  out.document({
    schema: "noodle.batch.v1",
    input: job.input,
    output: options.out,
    lines,
    skipped,
    answered: totals.answered,
    failed: totals.failed,
    failed_before: output.failedBefore,
    malformed: totals.malformed,
    retries: totals.retries,
    repaired_bytes: output.repairedBytes,
    prompt_tokens: totals.promptTokens,
    completion_tokens: totals.completionTokens,
    wall_ms: wallMs,
  });
  const failed = totals.failed === 0 ? "" : `, ${totals.failed} of them errors (${totals.malformed} malformed lines)`;
  out.line(
    `${options.out}: ${totals.answered} answers${failed}, ${totals.completionTokens} tokens in ${(wallMs / 1000).toFixed(1)} s`,
  );
}

const EMPTY: BatchTotals = {
  answered: 0,
  failed: 0,
  malformed: 0,
  retries: 0,
  promptTokens: 0,
  completionTokens: 0,
};

async function sendAll(
  { host, out, signal }: CommandContext,
  job: BatchJob & {
    readonly client: ApiClient;
    readonly pending: readonly BatchEntry[];
    readonly skipped: number;
  },
): Promise<BatchTotals> {
  const { options, pending, skipped } = job;
  out.progress.phase(`answering ${pending.length} requests, ${options.concurrency} at once`);
  const startMs = host.nowMs();
  const all = pending.length + skipped;
  const onProgress = ({ answered, failed, completionTokens }: BatchTotals): void => {
    const seconds = (host.nowMs() - startMs) / 1000;
    const fraction = (answered + skipped) / all;
    const rate = seconds > 0 ? `, ${(completionTokens / seconds).toFixed(1)} tokens/s` : "";
    const left = ((pending.length - answered) * seconds) / answered;
    out.progress.update(
      fraction,
      `${renderBar(fraction)} ${answered + skipped} of ${all}, ${failed} errors${rate}, ${formatLeft(left)} left`,
    );
  };
  const { client, reader, output } = job;
  try {
    return await runBatch(
      {
        client,
        reader,
        output,
        pending,
        concurrency: Math.min(options.concurrency, pending.length),
        patienceMs: options.retryFor ?? DEFAULT_PATIENCE_MS,
        onProgress,
        nowMs: () => host.nowMs(),
        sleep: wait,
      },
      signal,
    );
  } catch (error) {
    out.note(`${options.out} is whole so far: the same command goes on from there`);
    throw error;
  } finally {
    out.progress.clear();
  }
}

function renderBar(fraction: number): string {
  const done = Math.round(Math.min(1, fraction) * BAR_CELLS);
  return `[${"#".repeat(done)}${"-".repeat(BAR_CELLS - done)}]`;
}

function formatLeft(seconds: number): string {
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  return seconds < 6000 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
