import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { CoordinatorState } from "../../store/index.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { journalEvents } from "./journaled-events.ts";
import { JournaledRequests, type JournaledRequestsOptions } from "./journaled-requests.ts";
import { LETTERS } from "./testing.ts";

const MODEL = "ab".repeat(32);
const PROMPT = [1, 2, 3];
const REQUEST: GenerateRequest = {
  prompt: PROMPT,
  maxTokens: 6,
  client: "c",
  stop: ["zz"],
  topLogprobs: 1,
  sampling: { temperature: 1, topK: 0, topP: 1, minP: 0, seed: 5, repeatPenalty: 1, logitBias: [[3, -Infinity]] },
  origin: { id: "cmpl-1", choice: 0 },
};
const TOKENS = Array.from("abcdef").map((letter, index) => makeToken(index, letter));

let directory = "";
const opened: CoordinatorState[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "noodle-requests-"));
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((state) => state.close()));
  rmSync(directory, { recursive: true, force: true });
});

function open(): CoordinatorState {
  const state = CoordinatorState.open({ directory, nowMs: Date.now });
  opened.push(state);
  return state;
}

function makeToken(index: number, letter: string): GenerateEvent {
  const tokenId = letter.charCodeAt(0);
  const logprobs = { tokenId, logprob: -1 - index, top: [{ tokenId, logprob: -1 - index }] };
  const calls = index === 0 ? [{ position: 0, rows: 3, callRows: 3, place: 0 }] : [makeRow(2 + index)];
  return { type: "token", index, tokenId, text: letter, logits: null, logprobs, calls };
}

function makeRow(position: number) {
  return { position, rows: 1, callRows: 4, place: 1, perCall: 1 };
}

function begin(sessionId: string): GenerateEvent {
  return { type: "started", sessionId, promptTokenIds: PROMPT, cachedTokens: 0, queueMs: 0 };
}

/** A request of which so many tokens were told when its process was killed. */
async function cutOff(state: CoordinatorState, sessionId: string, tokens: number, request = REQUEST): Promise<void> {
  const start = async function* (): AsyncGenerator<GenerateEvent> {
    yield begin(sessionId);
    yield* TOKENS.slice(0, tokens);
    if (tokens === TOKENS.length) return;
    await new Promise(() => undefined);
  };
  const reader = journalEvents(state, { request, model: MODEL }, start, new AbortController().signal);
  for (let event = 0; event <= tokens; event++) await reader.next();
  if (tokens === TOKENS.length) await reader.next();
}

type Resume = JournaledRequestsOptions["resume"];

function read(resume: Resume, model = MODEL): JournaledRequests {
  return new JournaledRequests({ state: open(), model, contextTokens: 100, tokenizer: LETTERS, resume });
}

const REFUSE: Resume = () => {
  throw new NoodleError("ILLEGAL_STATE", "nothing is to be resumed");
};

async function collect(events: AsyncIterable<GenerateEvent>): Promise<GenerateEvent[]> {
  const all: GenerateEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const { signal } = new AbortController();
/** Without how they were computed, which is nobody's business but the journal's. */
const TOLD = TOKENS.map((event) => {
  const { calls: _calls, ...told } = event as Extract<GenerateEvent, { type: "token" }>;
  return told;
});

describe("requests that a stop cut off", () => {
  it("go on behind their last token, with all that their text depends on", async () => {
    await cutOff(open(), "a1", 3);
    const asked: unknown[] = [];
    const resume: Resume = async function* (request, promptTokenIds, history) {
      asked.push({ ...request }, promptTokenIds, history);
      yield begin("a1");
      yield* TOKENS.slice(3);
    };
    const requests = read(resume);
    expect(requests.list()).toEqual([{ sessionId: "a1", client: "c", origin: REQUEST.origin }]);
    expect(await collect(requests.goOn("a1", signal))).toEqual([begin("a1"), ...TOLD.slice(0, 3), ...TOKENS.slice(3)]);
    expect(asked).toEqual([
      { ...REQUEST, tellCalls: true },
      PROMPT,
      {
        id: "a1",
        generatedTokenIds: [97, 98, 99],
        notes: [{ position: 0, rows: 3, callRows: 3, place: 0 }, makeRow(3), makeRow(4)],
      },
    ]);
    // It has ended: what came behind its reader's last event is told once more, without a step.
    const later = read(REFUSE);
    expect(later.list()).toHaveLength(1);
    const again = await collect(later.goOn("a1", signal));
    expect(again.slice(0, -1)).toEqual([begin("a1"), ...TOLD]);
    expect(again.at(-1)).toMatchObject({ type: "done", finishReason: "length", generatedTokens: 6 });
  });

  it("go on after a second stop too, and lose nothing", async () => {
    await cutOff(open(), "a1", 2);
    const resume: Resume = async function* () {
      yield begin("a1");
      yield* TOKENS.slice(2, 4);
      await new Promise(() => undefined);
    };
    const reader = read(resume).goOn("a1", signal);
    for (let event = 0; event < 5; event++) await reader.next();
    const rest: Resume = async function* (_request, _prompt, { generatedTokenIds, notes }) {
      expect(generatedTokenIds).toEqual([97, 98, 99, 100]);
      expect(notes.at(-1)).toEqual(makeRow(5));
      yield* TOKENS.slice(4);
    };
    const events = await collect(read(rest).goOn("a1", signal));
    expect(events.map((event) => (event.type === "token" ? event.text : ""))).toEqual([
      "",
      "a",
      "b",
      "c",
      "d",
      "e",
      "f",
    ]);
  });

  it("are given up where nobody can go on with them", async () => {
    const state = open();
    await cutOff(state, "a1", 1, { prompt: PROMPT, maxTokens: 6 });
    await cutOff(state, "a2", 1, { ...REQUEST, promptLogprobs: 1 });
    expect(read(REFUSE).list()).toEqual([]);
    expect(open().loadOpenSessions()).toEqual([]);
    await cutOff(open(), "a3", 1);
    expect(read(REFUSE, "cd".repeat(32)).list()).toEqual([]);
    expect(open().loadOpenSessions()).toEqual([]);
  });

  it("end where their time is over, or somebody abandons them", async () => {
    const state = open();
    await cutOff(state, "a1", 1, { ...REQUEST, deadlineMs: 1 });
    await cutOff(state, "a2", 1);
    const requests = read(REFUSE);
    expect(requests.list()).toHaveLength(2);
    await new Promise((resolve) => setTimeout(resolve, 5));
    await expect(collect(requests.goOn("a1", signal))).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    requests.abandon("a2");
    await expect(collect(requests.goOn("a2", signal))).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(open().loadOpenSessions()).toEqual([]);
  });
});
