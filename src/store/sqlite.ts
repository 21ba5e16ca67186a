import Libsql from "libsql";
import { type ErrorCode, NoodleError } from "../common/index.ts";

export type SqlValue = string | number | Uint8Array | null;

/** One row by column name. */
export type SqlRow = Readonly<Record<string, unknown>>;

interface SqliteOptions {
  /** How long a write waits for another process's transaction. */
  readonly busyMs: number;
}

/** Every commit waits for the disk; what is deleted is overwritten; no page is believed unseen. */
const PRAGMAS = [
  "journal_mode = WAL",
  "synchronous = FULL",
  "secure_delete = ON",
  "trusted_schema = OFF",
  "cell_size_check = ON",
  "journal_size_limit = 16777216",
];

/** Primary result codes of SQLite, and what they are here. */
const CODES: ReadonlyMap<number, ErrorCode> = new Map([
  [5, "STATE_BUSY"],
  [6, "STATE_BUSY"],
  [8, "FILE_UNREADABLE"],
  [10, "FILE_UNREADABLE"],
  [11, "STATE_DAMAGED"],
  [13, "DISK_FULL"],
  [14, "FILE_UNREADABLE"],
  [26, "STATE_DAMAGED"],
]);

/**
 * One connection to a SQLite file: write-ahead log, every commit on disk before it returns, what is deleted overwritten.
 * All calls block. The only importer of the driver.
 */
export class Sqlite {
  readonly path: string;
  readonly #db: Libsql.Database;
  readonly #statements = new Map<string, Libsql.Statement>();
  #isOpen = true;

  /**
   * Makes a file of what the script says, and closes it. Without one prepared statement: the driver closes a file only
   * when the last of these is collected, and a file that is open must not get another name.
   *
   * @throws DISK_FULL, FILE_UNREADABLE
   */
  static make(path: string, script: string): void {
    guard(path, () => {
      const db = new Libsql(path);
      try {
        db.exec("PRAGMA journal_mode = WAL");
        db.exec(script);
      } finally {
        db.close();
      }
    });
  }

  /**
   * Opens the file, or makes it.
   *
   * @throws STATE_DAMAGED, STATE_BUSY, FILE_UNREADABLE
   */
  static open(path: string, { busyMs }: SqliteOptions): Sqlite {
    const sqlite = new Sqlite(
      path,
      guard(path, () => new Libsql(path, { timeout: busyMs })),
    );
    try {
      for (const pragma of PRAGMAS) sqlite.exec(`PRAGMA ${pragma}`);
      const mode = sqlite.readPragma("journal_mode");
      if (mode !== "wal") {
        throw new NoodleError("FILE_UNREADABLE", `${path} is on a file system without a write-ahead log: ${mode}`);
      }
      return sqlite;
    } catch (error) {
      sqlite.close();
      throw error;
    }
  }

  private constructor(path: string, db: Libsql.Database) {
    this.path = path;
    this.#db = db;
  }

  exec(sql: string): void {
    this.#guard(() => this.#db.exec(sql));
  }

  all(sql: string, ...params: readonly SqlValue[]): readonly SqlRow[] {
    return this.#guard(() => (this.#prepare(sql).all(params) as SqlRow[]).map(withBytes));
  }

  get(sql: string, ...params: readonly SqlValue[]): SqlRow | undefined {
    return this.#guard(() => this.#prepare(sql).get(params) as SqlRow | undefined);
  }

  /** @returns how many rows it changed */
  run(sql: string, ...params: readonly SqlValue[]): number {
    return this.#guard(() => this.#prepare(sql).run(params).changes);
  }

  /** First value of what the pragma answers. */
  readPragma(text: string): string {
    const [row] = this.#guard(() => this.#db.prepare(`PRAGMA ${text}`).all() as SqlRow[]);
    return String(Object.values(row ?? {})[0]);
  }

  /** Runs `work` in one transaction that may write from the start; what it throws undoes all of it. */
  transact<T>(work: () => T): T {
    this.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.exec("COMMIT");
      return result;
    } catch (error) {
      // A full disk may have ended the transaction already.
      if (this.#db.inTransaction) this.exec("ROLLBACK");
      throw error;
    }
  }

  /** Nothing can be done with it any more; the driver lets go of the file when statements are collected. Twice is safe. */
  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#statements.clear();
    this.#db.close();
  }

  #prepare(sql: string): Libsql.Statement {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #guard<T>(work: () => T): T {
    if (!this.#isOpen) throw new NoodleError("ILLEGAL_STATE", `the state ${this.path} is closed`);
    return guard(this.path, work);
  }
}

/** The driver gives blobs of many rows as buffers without a view. */
function withBytes(row: SqlRow): SqlRow {
  const entries = Object.entries(row).map(([name, value]) => [
    name,
    value instanceof ArrayBuffer ? new Uint8Array(value) : value,
  ]);
  return Object.fromEntries(entries) as SqlRow;
}

/** Gives what the driver throws a code of ours. */
function guard<T>(path: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    const { rawCode } = thrown as { rawCode?: unknown };
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    const code = typeof rawCode === "number" ? (CODES.get(rawCode & 0xff) ?? "INTERNAL") : "INTERNAL";
    throw new NoodleError(code, `${path}: ${message}`, { cause: thrown });
  }
}
