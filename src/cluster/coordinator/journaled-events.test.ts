import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { CoordinatorState, type EventRow } from "../../store/index.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { journalEvents } from "./journaled-events.ts";
import { openState } from "./open-state.ts";

const REQUEST = {
  request: { prompt: "text", maxTokens: 5, client: "c", deadlineMs: 60_000, stop: ["x"] },
  model: "ab".repeat(32),
};
const STARTED: GenerateEvent = {
  type: "started",
  sessionId: "a1",
  promptTokenIds: [4, 5],
  cachedTokens: 0,
  queueMs: 0,
};

let directory = "";
let events: EventRow[] = [];
const opened: CoordinatorState[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "noodle-events-"));
  events = [];
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((state) => state.close()));
  rmSync(directory, { recursive: true, force: true });
});

function open(maxPages = 10_000): CoordinatorState {
  const onEvent = (event: EventRow) => events.push(event);
  const state = CoordinatorState.open({ directory, nowMs: Date.now, maxPages, onEvent });
  opened.push(state);
  return state;
}

function token(index: number): GenerateEvent {
  return { type: "token", index, tokenId: 100 + index, text: "t", logits: null, logprobs: null };
}

async function* give(...list: readonly GenerateEvent[]) {
  for (const event of list) yield event;
}

it("a token is in the journal before it is read, and the session is gone from it at the end", async () => {
  const state = open();
  const signal = new AbortController().signal;
  const reader = journalEvents(state, REQUEST, () => give(STARTED, token(0), token(1)), signal);
  expect((await reader.next()).value).toEqual(STARTED);
  expect((await reader.next()).value).toEqual(token(0));
  const seen = open().loadOpenSessions();
  expect(seen).toMatchObject([{ sessionId: "a1", client: "c", promptTokenIds: [4, 5], request: { maxTokens: 5 } }]);
  expect(seen[0]?.tokenIds[0]).toBe(100);
  expect(seen[0]?.deadlineMs).toBeGreaterThan(Date.now());
  expect(JSON.stringify(seen[0]?.request)).not.toContain("text");
});

it("a session that ends leaves nothing, however it ends", async () => {
  const state = open();
  const { signal } = new AbortController();
  const whole: GenerateEvent[] = [];
  for await (const event of journalEvents(state, REQUEST, () => give(STARTED, token(0)), signal)) whole.push(event);
  expect(whole).toEqual([STARTED, token(0)]);
  const failing = async function* (): AsyncGenerator<GenerateEvent> {
    yield { ...STARTED, sessionId: "a2" };
    throw new NoodleError("PEER_DEAD", "gone");
  };
  const failed = journalEvents(state, REQUEST, failing, signal);
  await failed.next();
  await expect(failed.next()).rejects.toMatchObject({ code: "PEER_DEAD" });
  let stopped = false;
  const endless = async function* (_: GenerateRequest, end: AbortSignal): AsyncGenerator<GenerateEvent> {
    yield { ...STARTED, sessionId: "a3" };
    await new Promise((resolve) => end.addEventListener("abort", resolve, { once: true }));
    stopped = true;
  };
  for await (const event of journalEvents(state, REQUEST, endless, signal)) {
    expect(event.type).toBe("started");
    break;
  }
  expect(stopped).toBe(true);
  await state.close();
  expect(open().loadOpenSessions()).toEqual([]);
});

it("where the disk is full a session that runs goes on, and a new one is refused", async () => {
  const state = open(26);
  const { signal } = new AbortController();
  const many = Array.from({ length: 4000 }, (_, index) => token(index));
  let read = 0;
  for await (const event of journalEvents(state, REQUEST, () => give(STARTED, ...many), signal)) {
    read += event.type === "token" ? 1 : 0;
  }
  expect(read).toBe(4000);
  expect(events.filter(({ name }) => name === "journal.failed")).toHaveLength(1);
  const long = { ...STARTED, sessionId: "a2", promptTokenIds: Array.from({ length: 50_000 }, () => 1) };
  const refused = journalEvents(state, REQUEST, () => give(long), signal);
  await expect(refused.next()).rejects.toMatchObject({ code: "DISK_FULL" });
});

it("a coordinator whose state was taken gives out no further token", async () => {
  const state = open();
  const { signal } = new AbortController();
  let take = (): void => undefined;
  const taken = new Promise<void>((resolve) => (take = resolve));
  const slow = async function* (): AsyncGenerator<GenerateEvent> {
    yield STARTED;
    await taken;
    yield token(0);
  };
  const reader = journalEvents(state, REQUEST, slow, signal);
  await reader.next();
  open();
  take();
  await expect(reader.next()).rejects.toMatchObject({ code: "STATE_TAKEN" });
});

it("what the last stop cut off is told by name, and stays for whoever goes on with it", async () => {
  const state = open();
  await state.journal.openSession(
    { sessionId: "s1", client: "", request: {}, promptTokenIds: [1], deadlineMs: null },
    0,
  );
  await state.journal.appendTokens("s1", 1, [7], null);
  const told: EventRow[] = [];
  const next = openState(directory, (event) => told.push(event));
  opened.push(next);
  expect(told).toMatchObject([
    {
      name: "sessions.cut_off",
      severity: "warning",
      details: { count: 1, sessions: [{ session_id: "s1", prompt_tokens: 1, generated_tokens: 1 }] },
    },
  ]);
  expect(told[0]?.message).toContain("after 1 token:");
  expect(next.loadOpenSessions()).toHaveLength(1);
});
