import { NoodleError } from "../common/index.ts";
import { writeEvent } from "./event-rows.ts";
import { type HashRow, readHashes, writeHashes } from "./hash-rows.ts";
import { Journal } from "./journal.ts";
import { type OpenedStore, openStore, putAside, type SetAside } from "./open-store.ts";
import { readHolders, readLastPlan, writePlan } from "./plan-rows.ts";
import type { EventRow, OpenSession, PlanRow } from "./records.ts";
import { readEndedSessions, readOpenSessions, SessionWriter } from "./session-rows.ts";
import { requireTerm, takeTerm } from "./terms.ts";

/** How long the journal's thread waits for another process's transaction. */
const JOURNAL_BUSY_MS = 5000;
/** The same of the thread that serves: less than a worker's lease. */
const SERVING_BUSY_MS = 250;
const DEFAULT_MAX_PAGES = 262_144;

export interface StateOptions {
  /** Holds the store; made where it is not there. */
  readonly directory: string;
  /** ms since 1970, by the clock on the wall. */
  readonly nowMs: () => number;
  /** Something happened to the store. What it throws goes no further. */
  readonly onEvent?: (event: EventRow) => void;
  /** Pages of 4 KiB that the journal may let the store grow to. @default 262144, 1 GiB */
  readonly maxPages?: number;
}

/**
 * What a coordinator must not forget: its term, plans, who holds which stages, hashes of models, and the journal of
 * sessions. Opening it takes the next term; a coordinator of an earlier term is refused from then on, whatever it writes.
 * What is called here blocks for one commit; the journal does not.
 *
 * Writes throw STATE_TAKEN when a later coordinator has the state, DISK_FULL, STATE_BUSY, STATE_DAMAGED (the store is set
 * aside, and every later call says so), FILE_UNREADABLE.
 */
export class CoordinatorState {
  /** Above that of every coordinator before. */
  readonly term: number;
  readonly #options: StateOptions;
  readonly #store: OpenedStore;
  #journal: Journal | null = null;
  /** Damaged while it was open, and lying elsewhere since. */
  #setAside: SetAside | null = null;

  /** @throws STATE_VERSION, STATE_BUSY, FILE_UNREADABLE, DISK_FULL */
  static open(options: StateOptions): CoordinatorState {
    const store = openStore(options.directory, (db) => {
      readLastPlan(db);
      readOpenSessions(db);
    });
    try {
      return new CoordinatorState(options, store);
    } catch (error) {
      store.db.close();
      throw error;
    }
  }

  private constructor(options: StateOptions, store: OpenedStore) {
    this.#options = options;
    this.#store = store;
    store.db.readPragma(`busy_timeout = ${SERVING_BUSY_MS}`);
    this.term = takeTerm(store.db, { nowMs: options.nowMs(), pid: process.pid, isAfterLoss: store.hadDamage });
    for (const event of describeOpening(store)) this.recordEvent(event);
  }

  /** Commits a plan before anybody is told of it. */
  commitPlan(plan: PlanRow): void {
    this.#write(() => writePlan(this.#store.db, this.term, plan, this.#options.nowMs()));
  }

  /** The last plan of any term; null before the first. */
  readLastPlan(): PlanRow | null {
    return this.#read(() => readLastPlan(this.#store.db));
  }

  /** Units as the split is written, and the id of the node that held them last under this model. */
  readHolders(model: string): ReadonlyMap<string, string> {
    return this.#read(() => readHolders(this.#store.db, model));
  }

  readHashes(files: string): HashRow | null {
    return this.#read(() => readHashes(this.#store.db, files));
  }

  writeHashes(row: HashRow): void {
    this.#write(() => writeHashes(this.#store.db, row, this.#options.nowMs()));
  }

  /** Sessions that were cut off: open, and of a coordinator before this one. Oldest first. */
  loadOpenSessions(): readonly OpenSession[] {
    return this.#read(() => readOpenSessions(this.#store.db)).filter((session) => session.term < this.term);
  }

  /** Sessions that came to their end a moment ago, the last ones first. */
  loadEndedSessions(most: number): readonly OpenSession[] {
    return this.#read(() => readEndedSessions(this.#store.db, this.#options.nowMs(), most));
  }

  /** Deletes sessions that nobody will go on with. */
  dropSessions(sessionIds: readonly string[]): void {
    const { db } = this.#store;
    const nowMs = this.#options.nowMs();
    this.#write(() => {
      const writer = new SessionWriter(db, this.term);
      for (const sessionId of sessionIds)
        writer.close({ type: "close", sessionId, outcome: "dropped", nowMs, keepMs: 0 });
    });
  }

  /** @throws STATE_TAKEN when a later coordinator has the state */
  requireTerm(): void {
    this.#read(() => requireTerm(this.#store.db, this.term));
  }

  /** Keeps an event and tells it. Never throws: what cannot be kept is told all the same. */
  recordEvent(event: EventRow): void {
    try {
      this.#write(() => writeEvent(this.#store.db, this.term, event, this.#options.nowMs()));
    } catch {
      // The write that fails for the same reason next, and matters, says so.
    }
    this.#tell(event);
  }

  /** The journal; its thread starts with the first call. */
  get journal(): Journal {
    this.#requireWhole();
    this.#journal ??= new Journal(
      {
        path: this.#store.db.path,
        term: this.term,
        busyMs: JOURNAL_BUSY_MS,
        maxPages: this.#options.maxPages ?? DEFAULT_MAX_PAGES,
      },
      (error) => this.#noteFailure(error),
    );
    return this.#journal;
  }

  /** Writes what waits, notes that this term ended in order, and closes. Closing twice is safe. */
  async close(): Promise<void> {
    await this.#journal?.close();
    if (this.#setAside !== null) return;
    const { db } = this.#store;
    try {
      db.run("UPDATE terms SET stopped_ms = ? WHERE term = ?", this.#options.nowMs(), this.term);
      // What was deleted goes from the log too.
      db.readPragma("wal_checkpoint(TRUNCATE)");
    } catch {
      // Then the next start finds a term without an end, which is true.
    }
    db.close();
  }

  #write(work: () => void): void {
    this.#guard(() => {
      this.#store.db.transact(() => {
        requireTerm(this.#store.db, this.term);
        work();
      });
    });
  }

  #read<T>(work: () => T): T {
    return this.#guard(work);
  }

  #guard<T>(work: () => T): T {
    this.#requireWhole();
    try {
      return work();
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      this.#noteFailure(error);
      throw error;
    }
  }

  #requireWhole(): void {
    if (this.#setAside === null) return;
    throw new NoodleError(
      "STATE_DAMAGED",
      `the state was damaged (${this.#setAside.reason}) and is not written any more`,
    );
  }

  /** Damage that shows itself late: the store goes aside at once, so that the next start begins with a sound one. */
  #noteFailure({ code, message }: NoodleError): void {
    if (code !== "STATE_DAMAGED" || this.#setAside !== null) return;
    const { db } = this.#store;
    db.close();
    this.#setAside = putAside(db.path, message);
    void this.#journal?.close();
    this.#tell(describeSetAside(this.#setAside));
  }

  #tell(event: EventRow): void {
    try {
      this.#options.onEvent?.(event);
    } catch {
      // Whoever listens cannot harm the state.
    }
  }
}

function describeOpening({ db, setAside, lacksLog }: OpenedStore): readonly EventRow[] {
  if (setAside !== null) return [describeSetAside(setAside)];
  if (!lacksLog) return [];
  const message = `the log of ${db.path} is gone although its coordinator was not stopped in order: what it wrote last may be missing`;
  return [{ name: "state.incomplete", severity: "error", nodeId: null, message, details: { path: db.path } }];
}

function describeSetAside({ path, reason }: SetAside): EventRow {
  const message = `the coordinator's state was damaged: ${reason}. It lies at ${path}, and a new one takes its place`;
  return { name: "state.damaged", severity: "error", nodeId: null, message, details: { path, reason } };
}
