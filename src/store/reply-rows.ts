import { createHash } from "node:crypto";
import { NoodleError } from "../common/index.ts";
import type { ClaimedReply, JournalTask, ReplyKey } from "./records.ts";
import { checkSum, sumOf } from "./row-sum.ts";
import type { Sqlite } from "./sqlite.ts";

/** A reply of more characters is not kept: its key is free again. */
const MAX_REPLY_CHARS = 4 * 1024 * 1024;
/** Beyond these the oldest go. */
const MAX_REPLIES = 10_000;

/**
 * What is known of a request that the client has named. A key whose request runs in a coordinator that is gone is free.
 *
 * @throws IDEMPOTENCY_MISMATCH where the key stands for another body
 */
export function claimReply(
  db: Sqlite,
  term: number,
  { key, nowMs, keepMs }: Extract<JournalTask, { type: "claimReply" }>,
): ClaimedReply {
  const { client, bodySha256 } = key;
  const keySha256 = hashKey(key);
  const row = db.get("SELECT * FROM replies WHERE client = ? AND key_sha256 = ?", client, keySha256);
  if (row !== undefined && Number(row["expires_ms"]) > nowMs) {
    if (row["body_sha256"] !== bodySha256) {
      throw new NoodleError("IDEMPOTENCY_MISMATCH", "this Idempotency-Key was used with another body");
    }
    const reply = row["reply"];
    if (typeof reply === "string") {
      checkSum("a kept reply", row["sum"], client, keySha256, bodySha256, reply);
      return { state: "kept", reply };
    }
    if (row["term"] === term) return { state: "running" };
  }
  db.run(
    "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, NULL, 0)",
    client,
    keySha256,
    bodySha256,
    term,
    nowMs + keepMs,
  );
  return { state: "claimed" };
}

/** Keeps the reply; null sets the key free, since there is none. */
export function keepReply(db: Sqlite, term: number, { key, reply }: Extract<JournalTask, { type: "keepReply" }>): void {
  const { client, bodySha256 } = key;
  const keySha256 = hashKey(key);
  const mine = "client = ? AND key_sha256 = ? AND body_sha256 = ? AND term = ? AND reply IS NULL";
  if (reply === null || reply.length > MAX_REPLY_CHARS) {
    db.run(`DELETE FROM replies WHERE ${mine}`, client, keySha256, bodySha256, term);
    return;
  }
  const sum = sumOf(client, keySha256, bodySha256, reply);
  db.run(`UPDATE replies SET reply = ?, sum = ? WHERE ${mine}`, reply, sum, client, keySha256, bodySha256, term);
}

export function pruneReplies(db: Sqlite, nowMs: number): void {
  db.run("DELETE FROM replies WHERE expires_ms <= ?", nowMs);
  const over = Number(db.get("SELECT count(*) AS n FROM replies")?.["n"]) - MAX_REPLIES;
  if (over <= 0) return;
  db.run(
    "DELETE FROM replies WHERE (client, key_sha256) IN (SELECT client, key_sha256 FROM replies ORDER BY expires_ms LIMIT ?)",
    over,
  );
}

function hashKey({ key }: ReplyKey): string {
  return createHash("sha256").update(key).digest("hex");
}
