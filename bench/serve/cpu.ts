import { readFileSync } from "node:fs";

/** Linux counts CPU time in these. */
const TICK_MS = 10;

/** CPU time that a process has used so far, all its threads, ms; null where the system does not tell. */
export function readCpuMs(pid: number): number | null {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
  } catch {
    return null;
  }
}
