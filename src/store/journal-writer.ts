import { NoodleError } from "../common/index.ts";
import { writeEvent } from "./event-rows.ts";
import type { JournalTask, JournalValue } from "./records.ts";
import { claimReply, keepReply, pruneReplies } from "./reply-rows.ts";
import { SessionWriter } from "./session-rows.ts";
import type { Sqlite } from "./sqlite.ts";
import { requireTerm } from "./terms.ts";

/** How often rows whose time is over are deleted. */
const PRUNE_INTERVAL_MS = 30_000;

type TaskResult = { readonly value: JournalValue } | { readonly error: NoodleError };

/** Applies journal tasks in groups: one transaction, one wait for the disk. */
export class JournalWriter {
  readonly #db: Sqlite;
  readonly #term: number;
  #sessions: SessionWriter;
  #prunedMs = 0;
  #isSynced = true;

  constructor(db: Sqlite, term: number) {
    this.#db = db;
    this.#term = term;
    this.#sessions = new SessionWriter(db, term);
  }

  /**
   * All of them are written when it returns, but those with an error of their own, which change nothing. What was accepted
   * or kept is on disk then; tokens alone are with the system, so that they outlive this process and not the machine: a
   * request that lacks its last ones computes them again.
   *
   * @throws STATE_TAKEN, DISK_FULL, STATE_BUSY, STATE_DAMAGED, FILE_UNREADABLE: then nothing of the group is written
   */
  apply(tasks: readonly JournalTask[], nowMs: number): readonly TaskResult[] {
    this.#sync(tasks.some(({ type }) => type !== "append" && type !== "close"));
    try {
      return this.#db.transact(() => {
        requireTerm(this.#db, this.#term);
        const results = tasks.map((task) => this.#applyOne(task));
        if (nowMs - this.#prunedMs >= PRUNE_INTERVAL_MS) {
          this.#prunedMs = nowMs;
          this.#sessions.prune(nowMs);
          pruneReplies(this.#db, nowMs);
        }
        return results;
      });
    } catch (error) {
      // What it knows of its sessions may be of rows that were undone.
      this.#sessions = new SessionWriter(this.#db, this.#term);
      throw error;
    }
  }

  #sync(isWanted: boolean): void {
    if (isWanted === this.#isSynced) return;
    this.#db.exec(`PRAGMA synchronous = ${isWanted ? "FULL" : "NORMAL"}`);
    this.#isSynced = isWanted;
  }

  #applyOne(task: JournalTask): TaskResult {
    try {
      return { value: this.#write(task) };
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      if (!isOfTask(error)) throw error;
      return { error };
    }
  }

  #write(task: JournalTask): JournalValue {
    switch (task.type) {
      case "open":
        this.#sessions.open(task.session, task.nowMs);
        return null;
      case "append":
        this.#sessions.append(task);
        return null;
      case "close":
        this.#sessions.close(task);
        return null;
      case "event":
        writeEvent(this.#db, this.#term, task.event, task.nowMs);
        return null;
      case "claimReply":
        return claimReply(this.#db, this.#term, task);
      case "keepReply":
        keepReply(this.#db, this.#term, task);
        return null;
      default:
        return task satisfies never;
    }
  }
}

/** Checked before anything is written: the others of the group are not concerned. */
function isOfTask({ code }: NoodleError): boolean {
  return (
    code === "SESSION_NOT_FOUND" ||
    code === "STEP_OUT_OF_ORDER" ||
    code === "ILLEGAL_STATE" ||
    code === "LIMIT_EXCEEDED" ||
    code === "IDEMPOTENCY_MISMATCH"
  );
}
