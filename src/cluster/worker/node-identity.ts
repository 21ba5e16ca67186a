import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FileLock, tryLock } from "../stage-files/index.ts";

export interface NodeIdentity {
  /** `n-` and 12 hexadecimal digits. */
  readonly nodeId: string;
  release(): void;
}

/**
 * The worker's name in the cluster, kept in its data directory: a restarted worker is the same node. A second worker
 * on the same directory is another node, for this run only.
 */
export function claimNodeIdentity(dataDirectory: string): NodeIdentity {
  mkdirSync(dataDirectory, { recursive: true });
  const lock: FileLock | undefined = tryLock(join(dataDirectory, "node.lock"));
  if (lock === undefined) return { nodeId: makeNodeId(), release: () => undefined };
  const path = join(dataDirectory, "node-id");
  const kept = readNodeId(path);
  const nodeId = kept ?? makeNodeId();
  if (kept === undefined) writeFileSync(path, `${nodeId}\n`);
  return { nodeId, release: () => lock.release() };
}

function makeNodeId(): string {
  return `n-${randomBytes(6).toString("hex")}`;
}

function readNodeId(path: string): string | undefined {
  try {
    const text = readFileSync(path, "utf8").trim();
    return /^n-[0-9a-f]{12}$/.test(text) ? text : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
