import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { DEFAULT_GRPC_PORT } from "../../protocol/index.ts";
import { formatHostPort, LOOPBACK, parseHostPort } from "../addresses.ts";
import { readOperatorSecurity } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { parseDurationMs } from "../quantities.ts";
import type { Screen, Terminal } from "../terminal.ts";
import type { TopDocument } from "../top-document.ts";
import { renderTop } from "../top-frame.ts";
import type { TopSource } from "../top-source.ts";
import { wait } from "../waiting.ts";

interface TopOptions {
  readonly json?: boolean;
  readonly coordinator: string;
  readonly url?: string;
  readonly model?: string;
  readonly once?: boolean;
  readonly interval?: number;
}

const DEFAULT_COLUMNS = 80;
const DEFAULT_INTERVAL_MS = 1000;
const QUIT_KEYS = new Set(["q", "Q", "\u001b"]);
const CTRL_C = "\u0003";

export function addTop(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "top",
    summary: "watch a running cluster: stages, times, tokens per second, and what holds it back",
    examples: [
      "noodle top",
      "noodle top --coordinator 10.0.0.5:7421 --interval 2s",
      "noodle top --url http://10.0.0.5:7420 --once",
      "noodle top --json",
    ],
  })
    .option("--coordinator <host:port>", "gRPC address of the coordinator", `${LOOPBACK}:${DEFAULT_GRPC_PORT}`)
    .option("--url <url>", "HTTP address of the coordinator, instead of gRPC")
    .option("--model <id>", "with --url: which of several models (default: the first)")
    .option("--once", "print one frame and end; so it does when stdout is no terminal")
    .option("--interval <time>", "time between two frames (default: 1s)", (text) => parseDurationMs(text, "--interval"))
    .addHelpText("after", "\nKeys: q quits. Times are milliseconds. With --json each frame is one line, noodle.top.v1.")
    .action((options: TopOptions) => watch(openContext(host, options), options));
}

async function watch(context: CommandContext, options: TopOptions): Promise<void> {
  const { host, out, signal } = context;
  // Loaded here alone: what checks documents costs every other command memory and time.
  const { openGrpcSource, openHttpSource } = await import("../top-source.ts");
  if (options.model !== undefined && options.url === undefined) {
    throw new NoodleError("USAGE", "--model needs --url: over gRPC each model has a port of its own");
  }
  const source =
    options.url === undefined
      ? openGrpcSource(
          formatHostPort(parseHostPort(options.coordinator, "--coordinator")),
          readOperatorSecurity(host.env),
        )
      : openHttpSource(options.url, { model: options.model, key: host.env["NOODLE_API_KEY"] });
  const { terminal } = host;
  try {
    // A first answer before the screen is taken: an address that is wrong must be read by people and programs.
    const first = await source.read(signal);
    if (out.json) await streamLines(context, source, first, options);
    else if (options.once === true || !host.stdout.isTty || terminal === undefined) {
      const columns = terminal?.columns ?? readColumns(host.env["COLUMNS"]);
      for (const line of renderTop(first, { columns, color: false })) out.line(line);
    } else await watchScreen(context, source, first, { terminal, intervalMs: options.interval ?? DEFAULT_INTERVAL_MS });
  } finally {
    source.close();
  }
}

async function streamLines(
  { host, signal }: CommandContext,
  source: TopSource,
  first: TopDocument,
  options: TopOptions,
): Promise<void> {
  for (let top = first; ; top = await source.read(signal)) {
    host.stdout.write(`${JSON.stringify(top)}\n`);
    host.document.written = true;
    if (options.once === true) return;
    await wait(options.interval ?? DEFAULT_INTERVAL_MS, signal);
    signal.throwIfAborted();
  }
}

async function watchScreen(
  { host, signal }: CommandContext,
  source: TopSource,
  first: TopDocument,
  { terminal, intervalMs }: { readonly terminal: Terminal; readonly intervalMs: number },
): Promise<void> {
  const ending = new AbortController();
  const stop = AbortSignal.any([signal, ending.signal]);
  let top = first;
  let problem: string | null = null;
  const redraw = (): void => drawFrame(screen, top, problem, readColor(host));
  const screen = terminal.takeScreen((key) => {
    if (QUIT_KEYS.has(key)) ending.abort();
    // A terminal that hands over its keys sends no signal.
    else if (key === CTRL_C) ending.abort(new NoodleError("INTERRUPTED", "stopped by Ctrl-C"));
  }, redraw);
  try {
    while (!stop.aborted) {
      redraw();
      await wait(intervalMs, stop);
      if (stop.aborted) break;
      try {
        top = await source.read(stop);
        problem = null;
      } catch (thrown) {
        const { code, message } = NoodleError.from(thrown);
        problem = `${code}: ${message}`;
      }
    }
  } finally {
    screen.release();
  }
  signal.throwIfAborted();
  if (ending.signal.reason instanceof NoodleError) throw ending.signal.reason;
}

function drawFrame(screen: Screen, top: TopDocument, problem: string | null, color: boolean): void {
  const lines = renderTop(top, { columns: screen.columns, color });
  const last = problem === null ? "q quits" : `no answer, the figures are old: ${problem}`;
  screen.draw([...lines.slice(0, Math.max(0, screen.rows - 1)), last.slice(0, screen.columns)]);
}

/** NO_COLOR, when it says anything, means what it says. */
function readColor(host: CliHost): boolean {
  return (host.env["NO_COLOR"] ?? "") === "" && host.env["TERM"] !== "dumb";
}

function readColumns(text: string | undefined): number {
  const columns = Number(text);
  return Number.isInteger(columns) && columns > 0 && columns <= 1000 ? columns : DEFAULT_COLUMNS;
}
