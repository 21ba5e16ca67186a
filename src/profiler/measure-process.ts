import { type ChildProcess, fork } from "node:child_process";
import { NoodleError, resolveEntry } from "../common/index.ts";
import type { MeasureJob, MeasureMessage } from "./messages.ts";

/** How the measuring process ended. */
export type MeasureEnd =
  | { readonly type: "done" }
  | { readonly type: "interrupted"; readonly error: NoodleError }
  | { readonly type: "failed"; readonly error: NoodleError };

const STDERR_TAIL_BYTES = 4096;

/**
 * Runs a job in a child process and passes on what it says as it comes, so that a crash of the engine or an
 * interruption costs only what was not finished. Never throws: the end says what happened.
 */
export async function runMeasureProcess(
  job: MeasureJob,
  onMessage: (message: MeasureMessage) => void,
  signal: AbortSignal,
): Promise<MeasureEnd> {
  if (signal.aborted) return interrupted(signal);
  const child = fork(resolveEntry(import.meta.url, "./measure-main"), [], {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    execArgv: [],
    env: {},
    // Structured clone: numbers keep their bits, and long lists need no text.
    serialization: "advanced",
  });
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  try {
    return await follow(child, job, onMessage, signal);
  } finally {
    signal.removeEventListener("abort", kill);
    kill();
  }
}

function follow(
  child: ChildProcess,
  job: MeasureJob,
  onMessage: (message: MeasureMessage) => void,
  signal: AbortSignal,
): Promise<MeasureEnd> {
  let lastWords = "";
  let end: MeasureEnd | undefined;
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    lastWords = (lastWords + text).slice(-STDERR_TAIL_BYTES);
  });
  child.on("message", (message: MeasureMessage) => {
    if (message.type === "failed") end = { type: "failed", error: NoodleError.fromJSON(message.error) };
    else onMessage(message);
    if (message.type === "done") end = { type: "done" };
  });
  return new Promise((resolve) => {
    child.once("error", (error) => {
      resolve({ type: "failed", error: NoodleError.from(error, "ENGINE_FAILED") });
    });
    child.once("close", (code, endedBy) => {
      if (end !== undefined) resolve(end);
      else if (signal.aborted) resolve(interrupted(signal));
      else resolve({ type: "failed", error: describeDeath(endedBy ?? `exit code ${code}`, lastWords) });
    });
    child.send(job, (error) => {
      if (error !== null) child.kill("SIGKILL");
    });
  });
}

function describeDeath(how: string, lastWords: string): NoodleError {
  const words = lastWords.trim().split("\n").at(-1) ?? "";
  return new NoodleError(
    "ENGINE_ABORTED",
    `the measuring process ended (${how})${words === "" ? "" : `, its last words: ${words}`}`,
  );
}

function interrupted(signal: AbortSignal): MeasureEnd {
  return { type: "interrupted", error: NoodleError.from(signal.reason, "INTERRUPTED") };
}
