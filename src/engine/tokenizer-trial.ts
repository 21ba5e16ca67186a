import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { NoodleError, resolveEntry } from "../common/index.ts";
import type { LoadOptions } from "./native/index.ts";

/** What the child is told, as its one argument. */
export interface TokenizerTrial {
  readonly path: string;
  readonly engine: LoadOptions;
}

const TRIAL_TIMEOUT_MS = 60_000;

/**
 * Loads and uses a model's tokenizer in a child process first: the engine aborts the process on some vocabularies that a
 * damaged or hostile file may hold, and a coordinator must not go with it.
 *
 * @throws NoodleError `ENGINE_LOAD_FAILED` with the engine's last words; `INTERRUPTED` by the signal
 */
export async function tryTokenizer(path: string, engine: LoadOptions = {}, signal?: AbortSignal): Promise<void> {
  const trial: TokenizerTrial = { path, engine };
  const child = fork(resolveEntry(import.meta.url, "./tokenizer-trial-main"), [JSON.stringify(trial)], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    env: {},
    execArgv: [],
    timeout: TRIAL_TIMEOUT_MS,
    killSignal: "SIGKILL",
    ...(signal === undefined ? {} : { signal }),
  });
  const words = readLastLine(child);
  const [code, killed] = await exitOf(child, signal);
  if (code === 0) return;
  const cause = killed === null ? `exit code ${code}` : `signal ${killed}`;
  throw new NoodleError("ENGINE_LOAD_FAILED", `${path}: its tokenizer ends the engine (${cause}): ${await words}`, {
    details: { path },
  });
}

async function exitOf(child: ChildProcess, signal: AbortSignal | undefined): Promise<[number | null, string | null]> {
  try {
    return (await once(child, "close")) as [number | null, string | null];
  } catch (error) {
    if (signal?.aborted === true) throw new NoodleError("INTERRUPTED", "stopped while trying the tokenizer");
    throw NoodleError.from(error, "ENGINE_LOAD_FAILED");
  }
}

async function readLastLine(child: ChildProcess): Promise<string> {
  let text = "";
  for await (const chunk of child.stderr ?? []) text = (text + String(chunk)).slice(-4096);
  return text.trim().split("\n").at(-1) ?? "";
}
