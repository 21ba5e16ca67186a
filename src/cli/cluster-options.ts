import type { Command } from "commander";
import { parseInteger } from "./quantities.ts";

/** How a model is laid out over workers; the same for every command that starts a cluster. */
export interface ClusterOptions {
  readonly split?: string;
  readonly threads?: number;
  readonly context?: number;
  readonly parallel?: number;
  readonly unverified?: boolean;
  readonly data?: string;
}

const MAX_WORKERS = 1024;
const MAX_THREADS = 512;

export function parseWorkers(text: string, option: string): number {
  return parseInteger(text, option, 1, MAX_WORKERS);
}

export function parseThreads(text: string): number {
  return parseInteger(text, "--threads", 1, MAX_THREADS);
}

export function addClusterOptions(command: Command): Command {
  return command
    .option("--split <split>", "stages as 0:6,6:10,10:14 (default: by bytes, embedding and head counted)")
    .option(
      "--threads <n>",
      "threads of each stage (default: one for each core; local workers share the cores)",
      parseThreads,
    )
    .option("--context <tokens>", "context of each session (default: 4096, or the model's if shorter)", (text) =>
      parseInteger(text, "--context", 2, 1 << 24),
    )
    .option("--parallel <n>", "sessions at once (default: 8)", (text) => parseInteger(text, "--parallel", 1, 256))
    .option("--unverified", "run an architecture that no test has verified, after a verification here")
    .option("--data <dir>", "data directory: stage files and identities");
}
