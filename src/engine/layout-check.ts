import { spawnSync } from "node:child_process";
import { NoodleError, resolveEntry } from "../common/index.ts";
import type { LoadOptions } from "./native/index.ts";

export interface LayoutReport {
  readonly ok: boolean;
  /** In words, when it is not. */
  readonly problem: string | null;
  readonly checked: readonly string[];
}

const CHECK_TIMEOUT_MS = 20_000;

/**
 * Checks in a child process that the engine's structs are laid out as this release believes: a wrong layout does not
 * raise an error, it corrupts memory or aborts, and then only the child is lost.
 */
export function checkEngineLayout(options: LoadOptions = {}): LayoutReport {
  const entry = resolveEntry(import.meta.url, "./native/check-main");
  const child = spawnSync(process.execPath, [entry, JSON.stringify(options)], {
    encoding: "utf8",
    timeout: CHECK_TIMEOUT_MS,
    env: {},
  });
  if (child.status === 0) return JSON.parse(child.stdout) as LayoutReport;
  const cause = child.signal === null ? `exit code ${child.status}` : `signal ${child.signal}`;
  return {
    ok: false,
    problem: `the engine died in the check (${cause}): ${child.stderr.trim().split("\n").at(-1) ?? ""}`,
    checked: [],
  };
}

/** @throws NoodleError `ENGINE_INCOMPATIBLE` */
export function requireEngineLayout(options: LoadOptions = {}): void {
  const report = checkEngineLayout(options);
  if (!report.ok) throw new NoodleError("ENGINE_INCOMPATIBLE", report.problem ?? "layout check failed");
}
