import type { EventRow } from "./records.ts";
import type { Sqlite } from "./sqlite.ts";

/** The last ones are kept. */
const KEPT_EVENTS = 10_000;
const PRUNE_EVERY = 100;

/** Belongs to a transaction of the caller's. */
export function writeEvent(db: Sqlite, term: number, event: EventRow, nowMs: number): void {
  const { name, severity, nodeId, message, details } = event;
  const text = JSON.stringify(details);
  db.run("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", term, nowMs, name, severity, nodeId, message, text);
  const id = Number(db.get("SELECT last_insert_rowid() AS id")?.["id"]);
  if (id % PRUNE_EVERY === 0) db.run("DELETE FROM events WHERE id <= ?", id - KEPT_EVENTS);
}
