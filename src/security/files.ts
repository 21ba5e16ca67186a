import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from "node:fs";
import { dirname } from "node:path";
import { NoodleError } from "../common/index.ts";

const MAX_FILE_BYTES = 64 * 1024;
const PRIVATE_MODE = 0o600;
const OTHERS = 0o077;

/** Makes a folder that only its owner looks into. */
export function makePrivateFolder(path: string): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
}

/** Writes a file for its owner alone: whole or not at all, also when the machine stops. */
export function writePrivateFile(path: string, text: string): void {
  put(path, text, renameSync);
}

/** As `writePrivateFile`, where there is none yet. @returns false where there is one, which stays as it is */
export function createPrivateFile(path: string, text: string): boolean {
  try {
    put(path, text, linkSync);
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
}

/** @throws NoodleError `FILE_NOT_FOUND`, `SECURITY_FILE_INVALID` for one that is too long */
export function readShortFile(path: string): string {
  try {
    const { size } = statSync(path);
    if (size <= MAX_FILE_BYTES) return readFileSync(path, "utf8");
    throw new NoodleError("SECURITY_FILE_INVALID", `${path} has ${size} bytes, the limit is ${MAX_FILE_BYTES}`);
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}

/** As `readShortFile`, for a file that nobody but its owner may read. @throws also `SECURITY_FILE_INVALID` */
export function readPrivateFile(path: string): string {
  const text = readShortFile(path);
  const mode = statSync(path).mode & 0o777;
  if (process.platform === "win32" || (mode & OTHERS) === 0) return text;
  const wrong = `${path} may be read by others (mode ${mode.toString(8)}): chmod 600`;
  throw new NoodleError("SECURITY_FILE_INVALID", wrong);
}

/** Names in a folder; none where there is no folder. */
export function listNames(path: string): readonly string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return [];
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}

/** @returns false where there was none */
export function takeAway(path: string, to: string): boolean {
  try {
    renameSync(path, to);
    return true;
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}

function put(path: string, text: string, place: (from: string, to: string) => void): void {
  const draft = `${path}.${randomBytes(6).toString("hex")}.new`;
  const file = openSync(draft, "wx", PRIVATE_MODE);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  try {
    place(draft, path);
  } finally {
    rmSync(draft, { force: true });
  }
  syncFolder(dirname(path));
}

/** So that the name is on disk too. */
function syncFolder(path: string): void {
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
