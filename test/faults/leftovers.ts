import type { ChildProcess } from "node:child_process";

const children = new Map<ChildProcess, "group" | "process">();
let isWatching = false;

/** Ends the child, or all of its process group, with this process, however that ends but by SIGKILL. */
export function endWithUs(child: ChildProcess, whole: "group" | "process"): void {
  children.set(child, whole);
  // A group may outlive its leader: it stays on the list.
  if (whole === "process") child.once("exit", () => children.delete(child));
  if (isWatching) return;
  isWatching = true;
  process.on("exit", endAll);
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, () => process.exit(1));
}

/** The whole group of the child has been ended. */
export function forget(child: ChildProcess): void {
  children.delete(child);
}

function endAll(): void {
  for (const [{ pid }, whole] of children) {
    if (pid === undefined) continue;
    try {
      process.kill(whole === "group" ? -pid : pid, "SIGKILL");
    } catch {
      // Nobody is left of it.
    }
  }
}
