import { readdir, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { type LogStream, parseLogFileName } from "./streams.ts";

/** Files that continue one another, the oldest first. */
export interface LogChain {
  /** As the names say; null for files that are called otherwise. */
  readonly producer: string | null;
  readonly stream: LogStream | null;
  readonly paths: readonly string[];
}

/** Where a run's folder keeps its logs. */
const LOG_FOLDER = "logs";

/**
 * Finds the log files that are meant by files and folders, and puts each producer's streams in order. Of a folder, only
 * what is called like a log counts; where it holds none, its folder `logs` is looked into.
 *
 * @throws NoodleError `FILE_NOT_FOUND` for a path that is not there or a folder without logs, `FILE_UNREADABLE`
 */
export async function findLogChains(paths: readonly string[]): Promise<readonly LogChain[]> {
  const files = new Set<string>();
  for (const path of paths) for (const file of await listFiles(path)) files.add(file);
  const chains = new Map<string, { index: number; path: string }[]>();
  const result: LogChain[] = [];
  for (const path of files) {
    const name = parseLogFileName(basename(path));
    if (name === null) {
      result.push({ producer: null, stream: null, paths: [path] });
      continue;
    }
    const key = join(dirname(path), `${name.producer}.${name.stream}`);
    const chain = chains.get(key) ?? [];
    chain.push({ index: name.index, path });
    chains.set(key, chain);
  }
  for (const chain of chains.values()) {
    chain.sort((left, right) => left.index - right.index);
    const name = parseLogFileName(basename(chain[0]?.path ?? ""));
    result.push({
      producer: name?.producer ?? null,
      stream: name?.stream ?? null,
      paths: chain.map(({ path }) => path),
    });
  }
  return result;
}

async function listFiles(path: string): Promise<readonly string[]> {
  try {
    const found = await stat(path);
    if (found.isFile()) return [path];
    if (!found.isDirectory()) throw new NoodleError("FILE_UNREADABLE", `${path} is neither a file nor a folder`);
    const names = await readdir(path, { withFileTypes: true });
    const logs = names.filter((entry) => entry.isFile() && parseLogFileName(entry.name) !== null);
    if (logs.length > 0) return logs.map((entry) => join(path, entry.name)).sort();
    if (names.some((entry) => entry.isDirectory() && entry.name === LOG_FOLDER)) {
      return await listFiles(join(path, LOG_FOLDER));
    }
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
  throw new NoodleError(
    "FILE_NOT_FOUND",
    `${path} holds no log files (<producer>.<stream>.<number>.jsonl, for example coordinator.step.000000.jsonl)`,
  );
}
