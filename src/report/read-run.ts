import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { NoodleError } from "../common/index.ts";
import { MAX_PROFILE_BYTES, readProfile } from "../profile/index.ts";
import { MAX_TRACE_CHARS, readRequestTrace } from "../trace/index.ts";
import { digestTrace } from "./digest-trace.ts";
import type { RunDigest } from "./digest/run-digest.ts";
import type { ReportSource } from "./document.ts";
import type { NamedProfile, ReportInputs, RunInputs } from "./inputs.ts";
import { formatBytes } from "./numbers.ts";
import { parsePlan, parseSummary } from "./run-files.ts";
import { digestLogs } from "./read-logs.ts";

const LOG_FOLDER = "logs";
const PROFILE_FILE = "profile.json";
const PLAN_FILE = "plan.json";
const SUMMARY_FILE = "summary.json";
const TRACE_FILE = "trace.request.json";
const MAX_JSON_BYTES = 64 * 2 ** 20;

export interface ReadReportOptions {
  readonly noodlecoreVersion: string;
  readonly signal?: AbortSignal;
  /** Called with what is read next. */
  readonly onPhase?: (words: string) => void;
}

interface Findings {
  readonly profiles: NamedProfile[];
  readonly sources: ReportSource[];
  run: RunInputs | null;
  /** What made files useless, for a folder that has nothing else. */
  readonly failures: NoodleError[];
}

/**
 * Reads run folders and profiles. In a folder a damaged file is passed over and named among the sources as long as
 * another one gives something; a profile that is given by itself has to be sound.
 *
 * @throws NoodleError `FILE_NOT_FOUND`, `FILE_UNREADABLE`; `RUN_FOLDER_INVALID` for a folder with nothing to report on,
 *   or more than one run; `PROFILE_INVALID`; `LOG_VERSION`; the signal's reason
 */
export async function readReportInputs(paths: readonly string[], options: ReadReportOptions): Promise<ReportInputs> {
  const findings: Findings = { profiles: [], sources: [], run: null, failures: [] };
  for (const path of paths) {
    const entry = await stat(path).catch((error: unknown) => {
      throw NoodleError.from(error, "FILE_UNREADABLE");
    });
    if (entry.isDirectory()) await readFolder(path, findings, options);
    else findings.profiles.push(await readProfileFile(path, path, findings.sources));
  }
  return {
    noodlecoreVersion: options.noodlecoreVersion,
    name: basename(resolve(paths[0] ?? ".")),
    profiles: findings.profiles,
    run: findings.run,
    sources: findings.sources,
  };
}

async function readFolder(path: string, findings: Findings, options: ReadReportOptions): Promise<void> {
  const names = await readdir(path).catch((error: unknown) => {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  });
  const failuresBefore = findings.failures.length;
  const before = findings.profiles.length;
  if (names.includes(PROFILE_FILE)) {
    await tolerate(findings, PROFILE_FILE, async () => {
      findings.profiles.push(await readProfileFile(join(path, PROFILE_FILE), PROFILE_FILE, findings.sources));
    });
  }
  const run = await readRun(path, names, findings, options);
  if (run === null && findings.profiles.length === before) {
    const failure = findings.failures[failuresBefore];
    if (failure !== undefined) throw failure;
    throw new NoodleError(
      "RUN_FOLDER_INVALID",
      `${path} holds none of ${PROFILE_FILE}, ${PLAN_FILE}, ${SUMMARY_FILE}, ${TRACE_FILE} and ${LOG_FOLDER}/*.jsonl`,
    );
  }
  if (run === null) return;
  if (findings.run !== null)
    throw new NoodleError("RUN_FOLDER_INVALID", `${path} is a second run; a report shows one run, and profiles`);
  findings.run = run;
}

async function readRun(
  path: string,
  names: readonly string[],
  findings: Findings,
  options: ReadReportOptions,
): Promise<RunInputs | null> {
  const run: { -readonly [K in keyof RunInputs]: RunInputs[K] } = { plan: null, summary: null, digest: null };
  if (names.includes(PLAN_FILE)) {
    await tolerate(findings, PLAN_FILE, async () => {
      run.plan = parsePlan(await readJson(join(path, PLAN_FILE)));
      findings.sources.push(describeJson(PLAN_FILE, run.plan === null ? null : `split ${run.plan.split}`));
    });
  }
  if (names.includes(SUMMARY_FILE)) {
    await tolerate(findings, SUMMARY_FILE, async () => {
      run.summary = parseSummary(await readJson(join(path, SUMMARY_FILE)));
      findings.sources.push(
        describeJson(SUMMARY_FILE, run.summary === null ? null : `${run.summary.stages.length} stages`),
      );
    });
  }
  if (await holdsLogs(path, names)) {
    options.onPhase?.("reading the logs");
    const logs = await digestLogs(path, options.signal);
    run.digest = logs.digest;
    findings.sources.push(...logs.sources);
  }
  if (names.includes(TRACE_FILE)) {
    await tolerate(findings, TRACE_FILE, async () => {
      const text = (await readBounded(join(path, TRACE_FILE), MAX_TRACE_CHARS, "TRACE_INVALID")).toString("utf8");
      const trace = readRequestTrace(text);
      findings.sources.push({ name: TRACE_FILE, detail: `${trace.steps.length} steps of one request`, damaged: false });
      run.digest = addTrace(run.digest, digestTrace(trace));
    });
  }
  return run.plan === null && run.summary === null && run.digest === null ? null : run;
}

/** A trace looks into every step of its request: where it saw more than the logs, its insides stand for the run's. */
function addTrace(logs: RunDigest | null, trace: RunDigest | null): RunDigest | null {
  if (logs === null || logs.steps === 0) return trace ?? logs;
  if (trace === null || (logs.heat?.columns.length ?? 0) >= (trace.heat?.columns.length ?? 0)) return logs;
  return { ...logs, heat: trace.heat, units: trace.units };
}

/** A damaged file is no reason to show nothing, unless it is all that there is. */
async function tolerate(findings: Findings, name: string, read: () => Promise<void>): Promise<void> {
  try {
    await read();
  } catch (error) {
    const failure = NoodleError.from(error, "FILE_UNREADABLE");
    findings.failures.push(failure);
    findings.sources.push({ name, detail: `could not be read: ${failure.message}`, damaged: true });
  }
}

async function holdsLogs(path: string, names: readonly string[]): Promise<boolean> {
  if (names.some((name) => /\.\d{6,15}\.jsonl$/.test(name))) return true;
  if (!names.includes(LOG_FOLDER)) return false;
  const inside = await readdir(join(path, LOG_FOLDER)).catch(() => []);
  return inside.some((name) => name.endsWith(".jsonl"));
}

async function readProfileFile(path: string, shown: string, sources: ReportSource[]): Promise<NamedProfile> {
  const document = readProfile(await readBounded(path, MAX_PROFILE_BYTES, "PROFILE_INVALID"));
  const partial = document.partial ? `, partial: ${document.partial_reason ?? "ended early"}` : "";
  sources.push({ name: shown, detail: `${document.units.length} rows${partial}`, damaged: false });
  return { name: nameProfile(path, document.settings.synthetic), document };
}

/** The folder says more than `profile.json` does. */
function nameProfile(path: string, isSynthetic: boolean): string {
  const file = basename(path);
  const name = file === PROFILE_FILE ? basename(dirname(resolve(path))) : file.replace(/\.json$/, "");
  return isSynthetic ? `${name} (synthetic)` : name;
}

function describeJson(name: string, detail: string | null): ReportSource {
  return { name, detail: detail ?? "is of a form that this release does not read", damaged: detail === null };
}

async function readJson(path: string): Promise<unknown> {
  const text = (await readBounded(path, MAX_JSON_BYTES, "FILE_UNREADABLE")).toString("utf8");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new NoodleError("FILE_UNREADABLE", `${path} is no JSON`, { cause });
  }
}

async function readBounded(
  path: string,
  maxBytes: number,
  code: "PROFILE_INVALID" | "TRACE_INVALID" | "FILE_UNREADABLE",
): Promise<Buffer> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes)
      throw new NoodleError(code, `${path} has ${formatBytes(size)}, the limit is ${formatBytes(maxBytes)}`);
    return await readFile(path);
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}
