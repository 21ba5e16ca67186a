import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CoordinatorState } from "./coordinator-state.ts";
import type { Journal } from "./journal.ts";

/** Later than any run of this test: the thread deletes by its own clock what is older. */
const NOW_MS = 4_000_000_000_000;

let root = "";
const former: CoordinatorState[] = [];
let state: CoordinatorState;
let journal: Journal;
let names = 0;

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), "noodle-journal-"));
  state = CoordinatorState.open({ directory: root, nowMs: () => 0 });
  ({ journal } = state);
});
afterAll(async () => {
  for (const each of [...former, state]) await each.close();
  rmSync(root, { recursive: true, force: true });
});

async function openSession(): Promise<string> {
  names += 1;
  const sessionId = `s${names}`;
  const session = { sessionId, client: "c", request: { maxTokens: 9 }, promptTokenIds: [5, 6, 7], deadlineMs: 1000 };
  await journal.openSession(session, 1);
  return sessionId;
}

/** What the next start would find. */
function find(sessionId: string) {
  const later = CoordinatorState.open({ directory: root, nowMs: () => 0 });
  const found = later.loadOpenSessions().find((session) => session.sessionId === sessionId);
  const { term } = state;
  former.push(state);
  state = later;
  ({ journal } = later);
  return { found, term };
}

it("a session comes back as it was accepted, with its tokens and notes in order", async () => {
  const id = await openSession();
  await Promise.all([
    journal.appendTokens(id, 3, [10], "a"),
    journal.appendTokens(id, 4, [11, -1], null),
    journal.appendTokens(id, 6, [0x7fffffff], "b"),
  ]);
  const { found, term } = find(id);
  expect(found).toEqual({
    sessionId: id,
    client: "c",
    request: { maxTokens: 9 },
    promptTokenIds: [5, 6, 7],
    deadlineMs: 1000,
    term,
    openedMs: 1,
    tokenIds: [10, 11, -1, 0x7fffffff],
    notes: ["a", null, "b"],
    outcome: null,
  });
});

it("tokens are written once however often they come, and never with a gap or in place of others", async () => {
  const id = await openSession();
  await journal.appendTokens(id, 3, [10, 11], null);
  await journal.appendTokens(id, 3, [10, 11, 12], null);
  await journal.appendTokens(id, 4, [11], null);
  const wrong = { code: "STEP_OUT_OF_ORDER", details: { have: 6 } };
  await expect(journal.appendTokens(id, 7, [13], null)).rejects.toMatchObject(wrong);
  await expect(journal.appendTokens(id, 3, [9], null)).rejects.toMatchObject(wrong);
  await expect(journal.appendTokens(id, 2, [7], null)).rejects.toMatchObject(wrong);
  expect(find(id).found?.tokenIds).toEqual([10, 11, 12]);
});

it("one bad write does not spoil those beside it in the group", async () => {
  const id = await openSession();
  const outcomes = await Promise.allSettled([
    journal.appendTokens(id, 3, [10], null),
    journal.appendTokens("nobody", 3, [10], null),
    journal.openSession({ sessionId: id, client: "", request: {}, promptTokenIds: [], deadlineMs: null }, 1),
    journal.appendTokens(id, 4, [11], "x".repeat(70_000)),
    journal.appendTokens(id, 4, [11], null),
  ]);
  const codes = outcomes.map((outcome) =>
    outcome.status === "fulfilled" ? "ok" : (outcome.reason as { code: string }).code,
  );
  expect(codes).toEqual(["ok", "SESSION_NOT_FOUND", "ILLEGAL_STATE", "LIMIT_EXCEEDED", "ok"]);
  expect(find(id).found?.tokenIds).toEqual([10, 11]);
});

it("a session that has ended is not found again", async () => {
  const [gone, kept] = [await openSession(), await openSession()];
  await journal.appendTokens(gone, 3, [1], null);
  await journal.closeSession(gone, "done", 5);
  await journal.closeSession(kept, "done", 5, 60_000);
  await journal.closeSession("nobody", "done", 5);
  await expect(journal.appendTokens(gone, 4, [1], null)).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
  await expect(journal.appendTokens(kept, 3, [1], null)).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
  expect(find(gone).found).toBeUndefined();
  expect(state.loadOpenSessions().map(({ sessionId }) => sessionId)).not.toContain(kept);
});

it("a reply is made once for a key, and a key stands for one body until its time is over", async () => {
  const key = { client: "c", key: "k", bodySha256: "b1" };
  expect(await journal.claimReply(key, NOW_MS, 100)).toEqual({ state: "claimed" });
  expect(await journal.claimReply(key, NOW_MS + 1, 100)).toEqual({ state: "running" });
  const other = { ...key, bodySha256: "b2" };
  await expect(journal.claimReply(other, NOW_MS + 1, 100)).rejects.toMatchObject({ code: "IDEMPOTENCY_MISMATCH" });
  expect(await journal.claimReply({ ...other, client: "d" }, NOW_MS + 1, 100)).toEqual({ state: "claimed" });
  await journal.keepReply(key, "the reply");
  expect(await journal.claimReply(key, NOW_MS + 99, 100)).toEqual({ state: "kept", reply: "the reply" });
  expect(await journal.claimReply(other, NOW_MS + 100, 100)).toEqual({ state: "claimed" });
  await journal.keepReply(other, null);
  expect(await journal.claimReply(key, NOW_MS + 101, 100)).toEqual({ state: "claimed" });
});

it("a key whose request died with its coordinator is free, and a kept reply survives it", async () => {
  const dead = { client: "", key: "dead", bodySha256: "b" };
  const kept = { ...dead, key: "kept" };
  await journal.claimReply(dead, NOW_MS, 100);
  await journal.claimReply(kept, NOW_MS, 100);
  await journal.keepReply(kept, "r");
  find("");
  expect(await journal.claimReply(dead, NOW_MS + 1, 100)).toEqual({ state: "claimed" });
  expect(await journal.claimReply(kept, NOW_MS + 1, 100)).toEqual({ state: "kept", reply: "r" });
});

it("more writes than may wait are refused, and those that wait are all written", async () => {
  const id = await openSession();
  const writes = Array.from({ length: 5000 }, (_, index) => journal.appendTokens(id, 3 + index, [index], null));
  const outcomes = await Promise.allSettled(writes);
  const refused = outcomes.filter((outcome) => outcome.status === "rejected");
  expect(refused.length).toBeGreaterThan(0);
  for (const { reason } of refused) expect(reason).toMatchObject({ code: "STATE_BUSY" });
  expect(find(id).found?.tokenIds.length).toBe(5000 - refused.length);
});

it("what waits is written before it closes, and nothing is taken afterwards", async () => {
  const id = await openSession();
  const write = journal.appendTokens(id, 3, [1], null);
  await journal.close();
  await write;
  await expect(journal.appendTokens(id, 4, [1], null)).rejects.toMatchObject({ code: "ILLEGAL_STATE" });
  expect(find(id).found?.tokenIds).toEqual([1]);
});
