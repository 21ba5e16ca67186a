import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { upgrade, writeUpgrade } from "./schema.ts";
import { Sqlite } from "./sqlite.ts";

/** Behind a damaged store the number is one higher: no file takes the name of one that may still be open. */
const STORE_NAME = /^state-(\d{1,9})\.db$/;
const SET_ASIDE_NAME = /^state-(\d{1,9})\.db\.damaged-/;
/** SQLite's companions of a file. */
const SUFFIXES = ["", "-wal", "-shm"];
const BUSY_MS = 5000;

/** A damaged store that lies under another name now. */
export interface SetAside {
  readonly path: string;
  readonly reason: string;
}

export interface OpenedStore {
  readonly db: Sqlite;
  /** What was in its place; null where nothing was wrong. */
  readonly setAside: SetAside | null;
  /** Damaged stores lie beside it, of now or of former times. */
  readonly hadDamage: boolean;
  /** The last run did not close it and yet its log is gone: what it wrote last may be missing. */
  readonly lacksLog: boolean;
}

/**
 * Opens the store of a directory, makes it where there is none, and checks all of it. A damaged one is renamed, kept, and
 * told in the result; a new one takes its place.
 *
 * @param check reads rows that must be sound; throws STATE_DAMAGED
 * @throws STATE_VERSION, STATE_BUSY, FILE_UNREADABLE, DISK_FULL
 */
export function openStore(directory: string, check: (db: Sqlite) => void): OpenedStore {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const { path, isThere, hasLog, hadDamage } = findStore(directory);
  if (!isThere && !hasLog) return { ...make(path, check), setAside: null, hadDamage };
  try {
    if (!isThere) throw new NoodleError("STATE_DAMAGED", `${path} is gone, and its log is there`);
    const db = openChecked(path, check);
    return { db, setAside: null, hadDamage, lacksLog: !hasLog && !wasClosed(db) };
  } catch (error) {
    const { code, message } = NoodleError.from(error);
    if (code !== "STATE_DAMAGED") throw error;
    const setAside = putAside(path, message);
    return { ...make(findStore(directory).path, check), setAside, hadDamage: true };
  }
}

/** Where the store of a directory is, or would be. The log is looked at first: who makes a store makes its file first. */
function findStore(directory: string): { path: string; isThere: boolean; hasLog: boolean; hadDamage: boolean } {
  const names = readdirSync(directory);
  const numberOf = (pattern: RegExp) => names.map((name) => Number(pattern.exec(name)?.[1] ?? 0));
  const damaged = Math.max(0, ...numberOf(SET_ASIDE_NAME));
  const number = Math.max(damaged + 1, ...numberOf(STORE_NAME));
  const path = join(directory, `state-${number}.db`);
  const hasLog = existsSync(`${path}-wal`);
  return { path, isThere: existsSync(path), hasLog, hadDamage: damaged > 0 };
}

function make(path: string, check: (db: Sqlite) => void): { db: Sqlite; lacksLog: false } {
  create(path);
  return { db: openChecked(path, check), lacksLog: false };
}

/** Renames a damaged store with its companions. @returns where it lies now */
export function putAside(path: string, reason: string): SetAside {
  const stamp = new Date().toISOString().replaceAll(/[:.]/g, "-");
  const target = `${path}.damaged-${stamp}-${randomBytes(3).toString("hex")}`;
  // The log first: without its file it can do no harm, a new file under the old name would take it for its own.
  for (const suffix of SUFFIXES.toReversed()) {
    if (existsSync(`${path}${suffix}`)) renameSync(`${path}${suffix}`, `${target}${suffix}`);
  }
  syncDirectory(dirname(path));
  return { path: target, reason };
}

/** A store that opens has all its tables: it is made under another name, and linked when it is whole. */
function create(path: string): void {
  const temporary = `${path}.new-${randomBytes(6).toString("hex")}`;
  try {
    closeSync(openSync(temporary, "wx", 0o600));
    Sqlite.make(temporary, writeUpgrade(0));
    linkSync(temporary, path);
    syncDirectory(dirname(path));
  } catch (error) {
    // Another process was quicker: that one's is as good.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw NoodleError.from(error);
  } finally {
    for (const suffix of SUFFIXES) rmSync(`${temporary}${suffix}`, { force: true });
  }
}

function openChecked(path: string, check: (db: Sqlite) => void): Sqlite {
  const db = Sqlite.open(path, { busyMs: BUSY_MS });
  try {
    upgrade(db);
    const verdict = db.readPragma("integrity_check(1)");
    if (verdict !== "ok") throw new NoodleError("STATE_DAMAGED", `${path}: ${verdict}`);
    check(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function wasClosed(db: Sqlite): boolean {
  const last = db.get("SELECT stopped_ms FROM terms ORDER BY term DESC LIMIT 1");
  return last === undefined || last["stopped_ms"] !== null;
}

function syncDirectory(directory: string): void {
  const handle = openSync(directory, "r");
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
