// Entry of the thread that writes the journal: waiting for a disk must not hold up anybody else.
import { parentPort, workerData } from "node:worker_threads";
import { NoodleError } from "../common/index.ts";
import type { JournalReply, JournalStart } from "./journal.ts";
import { JournalWriter } from "./journal-writer.ts";
import type { JournalTask } from "./records.ts";
import { Sqlite } from "./sqlite.ts";

const { path, term, busyMs, maxPages } = workerData as JournalStart;
const port = parentPort;
if (port !== null) {
  const db = Sqlite.open(path, { busyMs });
  db.exec(`PRAGMA max_page_count = ${maxPages}`);
  const writer = new JournalWriter(db, term);
  port.on("message", (tasks: readonly JournalTask[] | null) => {
    if (tasks === null) {
      db.close();
      port.close();
      return;
    }
    port.postMessage(apply(writer, tasks), []);
  });
}

function apply(writer: JournalWriter, tasks: readonly JournalTask[]): JournalReply {
  const startMs = performance.now();
  try {
    const results = writer.apply(tasks, Date.now());
    return {
      results: results.map((result) => ("error" in result ? { error: result.error.toJSON() } : result)),
      writeMs: performance.now() - startMs,
    };
  } catch (error) {
    return { failure: NoodleError.from(error).toJSON() };
  }
}
