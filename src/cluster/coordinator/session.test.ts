import { expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { type GenerateRequest, Session } from "./session.ts";

const LIMITS = { contextTokens: 200, prefillRows: 4, isEndOfGeneration: (id: number) => id === 9 };

function createSession(request: Partial<GenerateRequest> = {}, prompt = [1, 2, 3, 4, 5, 6]): Session {
  const where = { id: "00".repeat(16), slot: 0, epoch: 1, stages: 1 };
  const session = new Session(where, { prompt, maxTokens: 100, ...request }, prompt, LIMITS);
  session.run();
  return session;
}

function sendAll(session: Session): void {
  for (
    let { position, waitingRows } = session.waiting();
    waitingRows > 0;
    { position, waitingRows } = session.waiting()
  ) {
    session.send({ sessionId: session.id, position, rows: Math.min(4, waitingRows), output: "last" });
  }
}

const token = (tokenId: number) => ({ tokenId, logits: null, receivedMs: 0 });

it("offers the rest of the prompt, then each sampled token", () => {
  const session = createSession();
  expect(session.waiting()).toMatchObject({ position: 0, waitingRows: 6, maxRows: 4 });
  expect([...session.send({ sessionId: session.id, position: 0, rows: 4, output: "none" })]).toEqual([1, 2, 3, 4]);
  expect(session.waiting()).toMatchObject({ position: 4, waitingRows: 2 });
  sendAll(session);
  expect(session.waiting().waitingRows).toBe(0);
  session.receive(6, token(7));
  expect(session.waiting()).toMatchObject({ position: 6, waitingRows: 1 });
  expect(session.stepRows).toEqual([4, 2]);
});

it("offers nothing before every stage has opened it, and nothing after its end", () => {
  const where = { id: "00".repeat(16), slot: 0, epoch: 1, stages: 1 };
  const waiting = new Session(where, { prompt: [1], maxTokens: 1 }, [1], LIMITS);
  expect(waiting.waiting().waitingRows).toBe(0);
  const ended = createSession({ maxTokens: 1 });
  sendAll(ended);
  ended.receive(6, token(7));
  expect(ended.finishReason).toBe("length");
  expect(ended.waiting().waitingRows).toBe(0);
});

it("refuses a token for a position that does not come next", () => {
  const session = createSession();
  sendAll(session);
  expect(() => session.receive(7, token(1))).toThrow(NoodleError);
  session.receive(6, token(1));
  expect(() => session.receive(6, token(1))).toThrow(NoodleError);
});

it("drops tokens that come after its failure, and keeps the first failure", async () => {
  const session = createSession();
  sendAll(session);
  session.fail(new NoodleError("PEER_DEAD", "gone"));
  session.fail(new NoodleError("INTERNAL", "later"));
  session.receive(6, token(1));
  expect(session.signal.aborted).toBe(true);
  await expect(session.sampled.next()).rejects.toMatchObject({ code: "PEER_DEAD" });
});

it("waits for a reader that is far behind", async () => {
  const session = createSession();
  sendAll(session);
  do {
    sendAll(session);
    session.receive(session.tokens.length, token(1));
  } while (session.waiting().waitingRows > 0 && session.generatedTokens < 90);
  const held = session.generatedTokens;
  expect(held).toBeLessThan(90);
  await session.sampled.next();
  expect(session.waiting().waitingRows).toBe(1);
});

it("takes the times of decode steps for its medians, of longer steps where there are no others", () => {
  const session = createSession();
  session.addTiming(0, 4, { computeMs: 50, queueMs: 1, hopMs: null });
  expect(session.samplesOf(0)?.computeMs.median()).toBe(50);
  session.addTiming(0, 1, { computeMs: 5, queueMs: 1, hopMs: 0.2 });
  expect(session.samplesOf(0)?.computeMs.median()).toBe(5);
  expect(session.samplesOf(1)).toBeUndefined();
});
