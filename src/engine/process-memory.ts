import { readFileSync } from "node:fs";

/** Bytes of private data that this process has mapped (touched or not); 0 where the system does not tell. */
export function readDataSegmentBytes(): number {
  if (process.platform !== "linux") return 0;
  const match = /^VmData:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"));
  return match === null ? 0 : Number(match[1]) * 1024;
}
