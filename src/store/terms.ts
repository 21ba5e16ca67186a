import { NoodleError } from "../common/index.ts";
import type { Sqlite } from "./sqlite.ts";

/** Terms that are remembered. */
const KEPT_TERMS = 1000;
/** From where terms behind a lost store count, in ms since 1970: the year 2020. */
const CLOCK_START_MS = 1_577_836_800_000;

interface TermStart {
  readonly nowMs: number;
  readonly pid: number;
  /** A store was lost here, and with it the number of the last term. */
  readonly isAfterLoss: boolean;
}

/**
 * Takes the next term: one above the last. Behind a lost store, whose last term is unknown, it is the number of seconds
 * since 2020: no sequence of starts is ahead of it.
 */
export function takeTerm(db: Sqlite, { nowMs, pid, isAfterLoss }: TermStart): number {
  const term = db.transact(() => {
    const last = readLastTerm(db);
    const least = isAfterLoss ? Math.floor((nowMs - CLOCK_START_MS) / 1000) : 1;
    const next = Math.max(last + 1, last === 0 ? least : 1);
    db.run("INSERT INTO terms VALUES (?, ?, NULL, ?)", next, nowMs, pid);
    db.run("DELETE FROM terms WHERE term <= ?", next - KEPT_TERMS);
    return next;
  });
  // Into the file itself: whoever loses the log must not get the same term twice.
  db.readPragma("wal_checkpoint(PASSIVE)");
  return term;
}

/**
 * Guards a write: to be called in its transaction.
 *
 * @throws STATE_TAKEN when a later term was taken
 */
export function requireTerm(db: Sqlite, term: number): void {
  const last = readLastTerm(db);
  if (last === term) return;
  throw new NoodleError(
    "STATE_TAKEN",
    `the state ${db.path} was taken by a later coordinator: its term is ${last}, this one's is ${term}`,
    { details: { term, laterTerm: last } },
  );
}

function readLastTerm(db: Sqlite): number {
  return Number(db.get("SELECT max(term) AS term FROM terms")?.["term"] ?? 0);
}
