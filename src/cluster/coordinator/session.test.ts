import { expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { Session } from "./session.ts";
import { createSession } from "./testing.ts";

const ALONE = { callRows: 4, place: 0 };

const run = (session: Session, position: number, rows: number) =>
  ({ sessionId: session.id, position, rows, output: "last" }) as const;

/** Sends what waits in steps of four rows, and answers it. */
function sendAll(session: Session): void {
  while (session.waitingRows > 0) {
    const { position, waitingRows } = session.waiting();
    const rows = Math.min(4, waitingRows);
    session.send(run(session, position, rows), ALONE);
    session.answer(position + rows);
  }
}

const token = (tokenId: number) => ({ tokenId, logits: null, receivedMs: 0 });

function say(session: Session, ...tokenIds: readonly number[]): void {
  for (const tokenId of tokenIds) {
    sendAll(session);
    session.receive(session.tokens.length, token(tokenId));
  }
}

const logprobs = (tokenId: number) => ({
  tokenId,
  logprob: -tokenId,
  top: [1, 2, 3].map((other) => ({ tokenId: other, logprob: -other })),
});

async function take(output: {
  readonly size: number;
  next(): Promise<GenerateEvent | undefined>;
}): Promise<GenerateEvent[]> {
  const events: GenerateEvent[] = [];
  while (output.size > 0) {
    const event = await output.next();
    if (event !== undefined) events.push(event);
  }
  return events;
}

const textOf = (events: readonly GenerateEvent[]): string[] =>
  events.flatMap((event) => (event.type === "token" ? [event.text] : []));

it("offers the rest of the prompt, then each sampled token", () => {
  const { session } = createSession();
  expect(session.waitingRows).toBe(0);
  session.run();
  expect(session.waiting()).toMatchObject({ position: 0, waitingRows: 6, promptRows: 6, maxRows: null });
  expect([...session.send(run(session, 0, 4), ALONE)]).toEqual([1, 2, 3, 4]);
  expect(session.waiting()).toMatchObject({ position: 4, waitingRows: 2 });
  sendAll(session);
  expect(session.waitingRows).toBe(0);
  session.receive(6, token(70));
  expect(session.waiting()).toMatchObject({ position: 6, waitingRows: 1 });
  expect(session.stepRows).toEqual([4, 2]);
  expect(() => session.send(run(session, 5, 1), ALONE)).toThrow(expect.objectContaining({ code: "ILLEGAL_STATE" }));
});

it("begins behind what is there already", () => {
  const { session } = createSession();
  session.startWith(4, [{ position: 0, rows: 4, callRows: 4, place: 0 }]);
  session.run();
  expect(session.waiting()).toMatchObject({ position: 4, waitingRows: 2 });
  session.send(run(session, 4, 2), { callRows: 2, place: 0 });
  expect(session.notes).toEqual([
    { position: 0, rows: 4, callRows: 4, place: 0 },
    { position: 4, rows: 2, callRows: 2, place: 0 },
  ]);
  expect(session).toMatchObject({ cachedTokens: 4, answeredRows: 4, isSettled: false });
});

it("offers the steps that it was told to take, as long as they fit", () => {
  const { session } = createSession();
  session.arrange([
    { position: 0, rows: 5, pads: [] },
    { position: 5, rows: 1, pads: [3] },
  ]);
  session.run();
  expect(session.waiting().arranged).toEqual({ position: 0, rows: 5, pads: [] });
  session.send(run(session, 0, 5), ALONE);
  expect(session.waiting().arranged).toMatchObject({ rows: 1, pads: [3] });
  session.send(run(session, 5, 1), ALONE);
  session.receive(6, token(70));
  expect(session.waiting().arranged).toBeNull();
});

it("refuses a token for a position that does not come next", () => {
  const { session } = createSession();
  session.run();
  sendAll(session);
  expect(() => session.receive(7, token(1))).toThrow(expect.objectContaining({ code: "STEP_OUT_OF_ORDER" }));
  session.receive(6, token(1));
  expect(() => session.receive(6, token(1))).toThrow(expect.objectContaining({ code: "STEP_OUT_OF_ORDER" }));
});

it("ends at an end-of-generation token, at its limit, or with the prompt where no token is wanted", () => {
  const ends = createSession().session;
  ends.run();
  say(ends, 70, 9);
  expect(ends).toMatchObject({ finishReason: "stop", stopText: null, generatedTokens: 2, waitingRows: 0 });
  const goesOn = createSession({ ignoreEos: true, maxTokens: 2 }).session;
  goesOn.run();
  say(goesOn, 9, 9);
  expect(goesOn).toMatchObject({ finishReason: "length", isOver: true });
  const scores = createSession({ maxTokens: 0 }).session;
  scores.run();
  say(scores, 70);
  expect(scores).toMatchObject({ finishReason: "length", generatedTokens: 0 });
});

it("tells text up to a stop text, and holds back what may be the beginning of one", async () => {
  const { session, output } = createSession({ stop: ["cde"] });
  session.run();
  say(session, ...Buffer.from("abcbcde"));
  expect(session).toMatchObject({ finishReason: "stop", stopText: "cde", generatedTokens: 7 });
  expect(textOf(await take(output))).toEqual(["a", "b", "", "cb", "", "", ""]);
  const cut = createSession({ stop: ["cde"], maxTokens: 2 });
  cut.session.run();
  say(cut.session, ...Buffer.from("bc"));
  expect(textOf(await take(cut.output))).toEqual(["b", "c"]);
});

it("tells log-probabilities of the prompt once, then each with its token, as many as were asked for", async () => {
  const { session, output } = createSession({ promptLogprobs: 1, topLogprobs: 0 }, [1, 2, 3]);
  session.run();
  expect(session.waiting()).toMatchObject({ allOutputs: true, maxRows: 8 });
  const all = { sessionId: session.id, position: 0, rows: 2, output: "all" } as const;
  expect(session.describeOutput(all)).toEqual({ topLogprobs: 1, following: 3 });
  expect(session.describeOutput({ ...all, rows: 3 })).toEqual({ topLogprobs: 1, following: null });
  expect(session.describeOutput({ ...all, output: "none" })).toEqual({ topLogprobs: null, following: null });
  sendAll(session);
  for (const [position, id] of [2, 3, 70].entries()) session.receiveLogprobs(position + 1, logprobs(id));
  session.receive(3, token(70));
  const cut = (tokenId: number, top: number) => ({ tokenId, logprob: -tokenId, top: logprobs(0).top.slice(0, top) });
  expect(await take(output)).toEqual([
    { type: "prompt", logprobs: [cut(2, 1), cut(3, 1)] },
    { type: "token", index: 0, tokenId: 70, text: "F", logits: null, logprobs: cut(70, 0) },
  ]);
});

it("drops tokens that come after its failure, and keeps the first failure", async () => {
  const { session, output } = createSession();
  session.run();
  sendAll(session);
  session.fail(new NoodleError("PEER_DEAD", "gone"));
  session.fail(new NoodleError("INTERNAL", "later"));
  session.receive(6, token(1));
  expect(session.over.aborted).toBe(true);
  expect(session.failure?.code).toBe("PEER_DEAD");
  expect(output.size).toBe(0);
  await session.promptRead;
});

it("waits for a reader that is far behind", async () => {
  const { session, output } = createSession();
  session.run();
  sendAll(session);
  do {
    session.receive(session.tokens.length, token(70));
    sendAll(session);
  } while (session.isSettled && !session.isHeldBack && session.generatedTokens < 1900);
  expect(session.generatedTokens).toBeLessThan(1900);
  expect(session.waitingRows).toBe(0);
  await output.next();
  expect(session.waitingRows).toBe(1);
});

it("takes the times of decode steps for its medians, of longer steps where there are no others", () => {
  const { times } = createSession().session;
  times.add(4, [{ stage: 0, computeMs: 50, queueMs: 1, hopMs: null }]);
  expect(times.samplesOf(0)?.computeMs.median()).toBe(50);
  times.add(1, [{ stage: 0, computeMs: 5, queueMs: 1, hopMs: 0.2 }]);
  expect(times.samplesOf(0)?.computeMs.median()).toBe(5);
  expect(times.samplesOf(1)).toBeUndefined();
});

it("opened anew, sends all its tokens again in the steps it is told, and keeps notes and steps of the first time", () => {
  const { session } = createSession();
  session.run();
  say(session, 70, 71);
  sendAll(session);
  const { notes, stepRows, tokens } = session;
  session.reopen({ epoch: 2, stages: 3 }, [
    { position: 0, rows: 5, pads: [] },
    { position: 5, rows: 2, pads: [] },
    { position: 7, rows: 1, pads: [1] },
  ]);
  expect(session).toMatchObject({ epoch: 2, fence: 2, waitingRows: 0, answeredRows: 0, isSettled: true });
  session.run();
  expect(session.waiting()).toMatchObject({ position: 0, waitingRows: 8, promptRows: 8, arranged: { rows: 5 } });
  expect([...session.send(run(session, 0, 5), ALONE)]).toEqual(tokens.slice(0, 5));
  session.send(run(session, 5, 2), ALONE);
  expect(session.waiting().arranged).toMatchObject({ position: 7, pads: [1] });
  session.send(run(session, 7, 1), { callRows: 2, place: 0 });
  expect(session.notes).toEqual(notes);
  expect(session.stepRows).toEqual(stepRows);
  // The token that was under way comes now, and what follows is noted as ever.
  session.receive(8, token(72));
  expect(session.waiting()).toMatchObject({ position: 8, waitingRows: 1, promptRows: 8, arranged: null });
  session.send(run(session, 8, 1), { callRows: 3, place: 1 });
  expect(session.notes.at(-1)).toMatchObject({ position: 8, rows: 1, callRows: 3, place: 1 });
});
