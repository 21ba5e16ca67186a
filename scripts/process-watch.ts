import { readdirSync, readFileSync } from "node:fs";

/** Environment variable that marks everything a command starts: children inherit it. */
export const MARK_NAME = "NOODLE_PROCESS_MARK";

export interface MarkedProcess {
  readonly pid: number;
  readonly command: string;
}

/** Living processes whose environment carries the mark (Linux; elsewhere there is no way to read it: none). */
export function listMarkedProcesses(mark: string): readonly MarkedProcess[] {
  const found: MarkedProcess[] = [];
  for (const name of listProcessIds()) {
    const environment = readProcessFile(name, "environ");
    if (!environment.split("\0").includes(`${MARK_NAME}=${mark}`)) continue;
    // A zombie has no command line any more: it has ended.
    const command = readProcessFile(name, "cmdline").replaceAll("\0", " ").trim();
    if (command !== "") found.push({ pid: Number(name), command });
  }
  return found;
}

function listProcessIds(): readonly string[] {
  try {
    return readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
}

/** Empty when the process ended in the meantime or belongs to somebody else. */
function readProcessFile(pid: string, file: "environ" | "cmdline"): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return "";
  }
}
