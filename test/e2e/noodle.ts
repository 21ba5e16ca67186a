import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll } from "vitest";
import { listMarkedProcesses, MARK_NAME, type MarkedProcess } from "../../scripts/process-watch.ts";

const ENTRY = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** The model that comes with the package. */
export const STORYTELLER: string = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A started `noodle`, with everything that it starts in turn. */
export interface Running {
  readonly child: ChildProcess;
  readonly finished: Promise<Finished>;
  /** Living processes of this run: the command itself and what it started. */
  processes(): readonly MarkedProcess[];
  /** Resolves once stdout or stderr holds the text. Rejects when the command ends before. */
  said(text: string | RegExp): Promise<void>;
  /** Its stdout so far. */
  stdout(): string;
}

const folder = mkdtempSync(join(tmpdir(), "noodle-e2e-"));
const running = new Set<ChildProcess>();

afterAll(() => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** A path in a folder that is removed after the test file. */
export function tempPath(name: string): string {
  return join(folder, name);
}

/** Starts the built command as a user would. Its data directory is one of the test file's own. */
export function startNoodle(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const mark = randomUUID();
  const child = spawn(process.execPath, [ENTRY, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    cwd: folder,
    env: { PATH: process.env["PATH"], HOME: folder, NOODLE_DATA_DIR: join(folder, "data"), ...env, [MARK_NAME]: mark },
  });
  running.add(child);
  let stdout = "";
  let stderr = "";
  const listeners = new Set<() => void>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    for (const listener of listeners) listener();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
    for (const listener of listeners) listener();
  });
  const finished = new Promise<Finished>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      running.delete(child);
      resolve({ code, stdout, stderr });
    });
  });
  const said = (text: string | RegExp): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = (): void => {
        const all = `${stdout}\n${stderr}`;
        if (typeof text === "string" ? !all.includes(text) : !text.test(all)) return;
        listeners.delete(look);
        resolve();
      };
      listeners.add(look);
      look();
      void finished.then(({ code }) =>
        reject(new Error(`ended with ${code} before it said ${String(text)}:\n${stdout}\n${stderr}`)),
      );
    });
  return { child, finished, processes: () => listMarkedProcesses(mark), said, stdout: () => stdout };
}

/** Runs the built command to its end. */
export function runNoodle(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  return startNoodle(args, env).finished;
}

/** Asks again until it is true; the test's own time limit ends a wait in vain. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 20));
}
