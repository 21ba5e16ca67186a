#!/usr/bin/env node
// The composition root: real streams, clock and signals are made here and nowhere else.
import type { CliHost, Sink } from "./host.ts";
import { openLineReader } from "./line-reader.ts";
import { runCli } from "./program.ts";
import { watchInterrupts } from "./signals.ts";
import { openTerminal } from "./terminal.ts";

const EXIT_INTERRUPTED = 130;

function wrapStream(stream: NodeJS.WriteStream): Sink {
  // A reader that went away (`noodle ... | head`) is no error of ours.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(0);
    throw error;
  });
  return { isTty: stream.isTTY, write: (text) => void stream.write(text) };
}

function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.write("", () => resolve());
  });
}

const stderr = wrapStream(process.stderr);
const host: CliHost = {
  stdout: wrapStream(process.stdout),
  stderr,
  ...(process.stdout.isTTY ? { terminal: openTerminal(process) } : {}),
  openLines: () => openLineReader(process),
  env: process.env,
  document: { written: false },
  nowMs: () => performance.now(),
  signal: watchInterrupts(
    process,
    () => process.exit(EXIT_INTERRUPTED),
    (text) => stderr.write(`${text}\n`),
  ),
};

const code = await runCli(process.argv.slice(2), host);
await Promise.all([flush(process.stdout), flush(process.stderr)]);
// Commands close what they open; the explicit end keeps a forgotten handle from holding a finished command.
process.exit(code);
