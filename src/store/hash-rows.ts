import { checkSum, sumOf } from "./row-sum.ts";
import type { Sqlite } from "./sqlite.ts";

/** Models whose hashes are remembered, those used last. */
const KEPT_MODELS = 64;

/** Hashes of a model, and what its files were like when they were read. Both are JSON. */
export interface HashRow {
  /** Names the files. */
  readonly files: string;
  readonly stamps: string;
  readonly hashes: string;
}

/** @returns null where nothing is known. @throws STATE_DAMAGED */
export function readHashes(db: Sqlite, files: string): HashRow | null {
  const row = db.get("SELECT * FROM model_hashes WHERE files = ?", files);
  if (row === undefined) return null;
  const stamps = String(row["stamps"]);
  const hashes = String(row["hashes"]);
  checkSum("a model's hashes", row["sum"], files, stamps, hashes);
  return { files, stamps, hashes };
}

/** Belongs to a transaction of the caller's. */
export function writeHashes(db: Sqlite, { files, stamps, hashes }: HashRow, nowMs: number): void {
  const sum = sumOf(files, stamps, hashes);
  db.run("INSERT OR REPLACE INTO model_hashes VALUES (?, ?, ?, ?, ?)", files, stamps, hashes, nowMs, sum);
  db.run(
    "DELETE FROM model_hashes WHERE files NOT IN (SELECT files FROM model_hashes ORDER BY used_ms DESC LIMIT ?)",
    KEPT_MODELS,
  );
}
