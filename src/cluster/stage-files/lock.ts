import { randomBytes } from "node:crypto";
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";

/** A lock that its holder's death releases. */
export interface FileLock {
  release(): void;
}

/**
 * Takes the lock file `path` for this process, without waiting. The file holds the holder's process id; the lock of a
 * dead process is taken over. For processes of one machine.
 *
 * @returns undefined while a living process holds it
 */
export function tryLock(path: string): FileLock | undefined {
  const mine = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  writeFileSync(mine, `${process.pid}\n`);
  try {
    // A link is made whole or not at all, so nobody reads a lock without its holder.
    for (let attempt = 0; attempt < 3; attempt++) {
      if (tryLink(mine, path)) return { release: () => rmSync(path, { force: true }) };
      const holder = readHolder(path);
      if (holder !== undefined && isAlive(holder)) return undefined;
      if (holder !== undefined) takeAway(path, holder, `${mine}.stale`);
    }
    return undefined;
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Removes the lock of a dead holder; puts back what turns out to be another's. */
function takeAway(path: string, deadHolder: number, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (readHolder(aside) !== deadHolder) tryLink(aside, path);
  rmSync(aside, { force: true });
}

function tryLink(existing: string, path: string): boolean {
  try {
    linkSync(existing, path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

function readHolder(path: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(path, "utf8"), 10);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it lives and belongs to another user.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
