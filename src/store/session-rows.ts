import { NoodleError } from "../common/index.ts";
import type { JournalTask, OpenSession, SessionRow } from "./records.ts";
import { checkSum, readTokens, sumOf, writeTokens } from "./row-sum.ts";
import type { Sqlite, SqlRow } from "./sqlite.ts";

/** Sessions that stay after their end at most, however long they are to be kept. */
const MAX_CLOSED_SESSIONS = 4096;
const MAX_REQUEST_CHARS = 4 * 1024 * 1024;
const MAX_NOTES_CHARS = 64 * 1024;

/** Where a session's journal goes on. */
interface Cursor {
  readonly row: number;
  nextPosition: number;
}

/** Writes sessions and their tokens; every call belongs to a transaction of the caller's. */
export class SessionWriter {
  readonly #db: Sqlite;
  readonly #term: number;
  readonly #cursors = new Map<string, Cursor>();

  constructor(db: Sqlite, term: number) {
    this.#db = db;
    this.#term = term;
  }

  /** @throws ILLEGAL_STATE for an id that is taken, LIMIT_EXCEEDED for a request of more than 4 MiB */
  open(session: SessionRow, nowMs: number): void {
    const { sessionId, client, promptTokenIds, deadlineMs } = session;
    const request = JSON.stringify(session.request);
    requireLength("the request", request.length, MAX_REQUEST_CHARS);
    if (this.#db.get("SELECT 1 FROM sessions WHERE session_id = ?", sessionId) !== undefined) {
      throw new NoodleError("ILLEGAL_STATE", `session ${sessionId} is in the journal already`);
    }
    const prompt = writeTokens(promptTokenIds);
    const sum = sumOf(sessionId, nowMs, deadlineMs, client, request, prompt);
    this.#db.run(
      "INSERT INTO sessions VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
      sessionId,
      this.#term,
      nowMs,
      deadlineMs,
      client,
      request,
      prompt,
      sum,
    );
    const row = Number(this.#db.get("SELECT last_insert_rowid() AS id")?.["id"]);
    this.#cursors.set(sessionId, { row, nextPosition: promptTokenIds.length });
  }

  /**
   * Tokens that are there already are not written twice.
   *
   * @throws SESSION_NOT_FOUND for one that is not open; STEP_OUT_OF_ORDER for a gap, or for other tokens than those there
   */
  append({ sessionId, fromPosition, tokens, notes }: Extract<JournalTask, { type: "append" }>): void {
    const cursor = this.#find(sessionId);
    requireLength("the notes", notes?.length ?? 0, MAX_NOTES_CHARS);
    const known = cursor.nextPosition - fromPosition;
    if (known < 0 || (known > 0 && !this.#holds(cursor.row, fromPosition, tokens.slice(0, known)))) {
      throw new NoodleError(
        "STEP_OUT_OF_ORDER",
        `tokens came for position ${fromPosition}, the journal of session ${sessionId} goes on at ${cursor.nextPosition}`,
        { details: { have: cursor.nextPosition } },
      );
    }
    const news = tokens.slice(known);
    if (news.length === 0) return;
    const bytes = writeTokens(news);
    const position = cursor.nextPosition;
    const sum = sumOf(sessionId, position, bytes, notes);
    this.#db.run("INSERT INTO tokens VALUES (?, ?, ?, ?, ?)", cursor.row, position, bytes, notes, sum);
    cursor.nextPosition += news.length;
  }

  /** Its rows are deleted, now or when `keepMs` are over. Without effect for one that is not open. */
  close({ sessionId, outcome, keepMs, nowMs }: Extract<JournalTask, { type: "close" }>): void {
    this.#cursors.delete(sessionId);
    const row = this.#db.get("SELECT id FROM sessions WHERE session_id = ? AND outcome IS NULL", sessionId);
    if (row === undefined) return;
    if (keepMs <= 0) this.#delete(Number(row["id"]));
    else {
      const expiresMs = nowMs + keepMs;
      this.#db.run(
        "UPDATE sessions SET outcome = ?, expires_ms = ? WHERE id = ?",
        outcome,
        expiresMs,
        Number(row["id"]),
      );
    }
  }

  /** Deletes closed sessions whose time is over, and the oldest of too many. */
  prune(nowMs: number): void {
    const overdue = this.#db.all("SELECT id FROM sessions WHERE expires_ms <= ? LIMIT 256", nowMs);
    const tooMany = this.#db.all(
      "SELECT id FROM sessions WHERE expires_ms IS NOT NULL ORDER BY expires_ms DESC LIMIT 256 OFFSET ?",
      MAX_CLOSED_SESSIONS,
    );
    for (const row of [...overdue, ...tooMany]) this.#delete(Number(row["id"]));
  }

  #find(sessionId: string): Cursor {
    const known = this.#cursors.get(sessionId);
    if (known !== undefined) return known;
    const row = this.#db.get("SELECT * FROM sessions WHERE session_id = ? AND outcome IS NULL", sessionId);
    if (row === undefined) throw new NoodleError("SESSION_NOT_FOUND", `no open session ${sessionId} is in the journal`);
    const session = readSession(this.#db, row);
    const nextPosition = session.promptTokenIds.length + session.tokenIds.length;
    const cursor = { row: Number(row["id"]), nextPosition };
    this.#cursors.set(sessionId, cursor);
    return cursor;
  }

  #holds(row: number, fromPosition: number, tokens: readonly number[]): boolean {
    const stored = this.#db.all("SELECT position, tokens FROM tokens WHERE session = ? ORDER BY position", row);
    const at = new Map<number, number>();
    for (const chunk of stored) {
      for (const [index, token] of readTokens(chunk["tokens"]).entries())
        at.set(Number(chunk["position"]) + index, token);
    }
    return tokens.every((token, index) => at.get(fromPosition + index) === token);
  }

  #delete(row: number): void {
    this.#db.run("DELETE FROM tokens WHERE session = ?", row);
    this.#db.run("DELETE FROM sessions WHERE id = ?", row);
  }
}

/**
 * Sessions that no coordinator has ended, oldest first.
 *
 * @throws STATE_DAMAGED for rows that fail their checksums, or do not follow one another
 */
export function readOpenSessions(db: Sqlite): readonly OpenSession[] {
  return db.all("SELECT * FROM sessions WHERE outcome IS NULL ORDER BY id").map((row) => readSession(db, row));
}

/**
 * Sessions that came to their end and are not deleted yet, the last ones.
 *
 * @throws STATE_DAMAGED
 */
export function readEndedSessions(db: Sqlite, nowMs: number, most: number): readonly OpenSession[] {
  const rows = db.all(
    "SELECT * FROM sessions WHERE outcome = 'done' AND expires_ms > ? ORDER BY expires_ms DESC LIMIT ?",
    nowMs,
    most,
  );
  return rows.map((row) => readSession(db, row));
}

function readSession(db: Sqlite, row: SqlRow): OpenSession {
  const sessionId = String(row["session_id"]);
  const what = `session ${sessionId}`;
  const client = String(row["client"]);
  const request = String(row["request"]);
  const openedMs = Number(row["opened_ms"]);
  const deadlineMs = row["deadline_ms"] === null ? null : Number(row["deadline_ms"]);
  const prompt = row["prompt"] as Uint8Array;
  checkSum(what, row["sum"], sessionId, openedMs, deadlineMs, client, request, prompt);
  const promptTokenIds = readTokens(prompt);
  const tokenIds: number[] = [];
  const notes: (string | null)[] = [];
  const stored = db.all("SELECT * FROM tokens WHERE session = ? ORDER BY position", Number(row["id"]));
  for (const chunk of stored) {
    const position = Number(chunk["position"]);
    const bytes = chunk["tokens"] as Uint8Array;
    const note = chunk["notes"] as string | null;
    checkSum(`${what} at position ${position}`, chunk["sum"], sessionId, position, bytes, note);
    if (position !== promptTokenIds.length + tokenIds.length) {
      throw new NoodleError("STATE_DAMAGED", `${what} lacks tokens before position ${position}`);
    }
    tokenIds.push(...readTokens(bytes));
    notes.push(note);
  }
  return {
    sessionId,
    client,
    request: JSON.parse(request) as Record<string, unknown>,
    promptTokenIds,
    deadlineMs,
    term: Number(row["term"]),
    openedMs,
    tokenIds,
    notes,
    outcome: row["outcome"] as string | null,
  };
}

function requireLength(what: string, chars: number, limit: number): void {
  if (chars <= limit) return;
  throw new NoodleError("LIMIT_EXCEEDED", `${what} would be ${chars} characters in the journal, the limit is ${limit}`);
}
