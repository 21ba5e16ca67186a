import { spawn } from "node:child_process";
import { rename, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { NoodleError } from "../common/index.ts";
import type { LoadOptions, QuantizeType } from "../engine/index.ts";

/** What `quantize-main` is asked for, as JSON. */
export interface QuantizeJob {
  readonly input: string;
  readonly output: string;
  readonly type: QuantizeType;
  readonly threads: number;
  readonly engine: LoadOptions;
}

/** What `quantize-main` answers, as JSON on its stdout. */
export type QuantizeAnswer =
  | { readonly bytes: number }
  | { readonly error: { readonly code: string; readonly message: string } };

/**
 * Quantises in a child process: the engine blocks its thread until it is done, and ends its process where it meets what
 * it holds impossible. The output gets its name when it is complete.
 *
 * @throws NoodleError `INTERRUPTED` by the signal, `ENGINE_ABORTED` when the child dies, otherwise the child's own
 */
export async function quantizeInChild(job: QuantizeJob, signal: AbortSignal): Promise<{ readonly bytes: number }> {
  signal.throwIfAborted();
  const partial = `${job.output}.${process.pid}.partial`;
  const entry = fileURLToPath(new URL("./quantize-main.js", import.meta.url));
  const child = spawn(process.execPath, [entry, JSON.stringify({ ...job, output: partial })], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const kill = (): void => void child.kill("SIGKILL");
  signal.addEventListener("abort", kill, { once: true });
  try {
    let stdout = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    const how = await new Promise<string>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code, endedBy) => resolve(endedBy ?? `exit code ${code}`));
    });
    signal.throwIfAborted();
    if (stdout === "")
      throw new NoodleError("ENGINE_ABORTED", `the engine died while it quantised ${job.input} (${how})`);
    const answer = JSON.parse(stdout) as QuantizeAnswer;
    if ("error" in answer) throw NoodleError.fromJSON(answer.error);
    await rename(partial, job.output);
    return { bytes: answer.bytes };
  } finally {
    signal.removeEventListener("abort", kill);
    await rm(partial, { force: true });
  }
}
