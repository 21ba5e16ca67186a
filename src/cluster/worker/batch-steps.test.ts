import { afterEach, describe, expect, it } from "vitest";
import { StreamRole } from "../../protocol/index.ts";
import {
  closeSession,
  createSession,
  LAYERS,
  makeFrame,
  makeRun,
  sessionId,
  startTestHost,
  type TestHost,
  TestStream,
  tokenIds,
} from "./testing.ts";

const SLOTS = [0, 1, 2];

const hosts: TestHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

interface Chain {
  readonly stages: readonly TestHost[];
  readonly steps: TestStream;
  readonly results: TestStream;
}

/** A pipeline of these units with a session in each of the first slots. */
async function startChain(...ends: readonly number[]): Promise<Chain> {
  const stages: TestHost[] = [];
  let nextAddress = "";
  for (let stage = ends.length - 1; stage >= 0; stage--) {
    const host = await startTestHost(ends[stage - 1] ?? 0, ends[stage] ?? 0);
    hosts.push(host);
    await host.load({ stage, nextAddress });
    nextAddress = host.address;
    stages.unshift(host);
    for (const slot of SLOTS) await createSession(host.client, slot);
  }
  const [first, last] = [stages[0], stages.at(-1)] as [TestHost, TestHost];
  const results = await TestStream.open(last.client, StreamRole.RESULTS);
  return { stages, steps: await TestStream.open(first.client), results };
}

async function tokensOf({ steps, results }: Chain, ...args: Parameters<typeof makeFrame>): Promise<readonly number[]> {
  steps.send(makeFrame(...args));
  const tokens = tokenIds(await results.next("result"));
  await steps.next("ack");
  return tokens;
}

describe("a step of several sessions", () => {
  it("that a later stage refuses for some names them, and the others go on under the same keys", async () => {
    const chain = await startChain(1, 2, LAYERS + 2);
    const whole = await startChain(LAYERS + 2);
    const prompts = SLOTS.map((slot) => makeRun(slot, 0, 2));
    const first = await tokensOf(chain, 1, prompts, [1, 2, 3, 4, 5, 6]);
    expect(first).toEqual(await tokensOf(whole, 1, prompts, [1, 2, 3, 4, 5, 6]));
    const runs = SLOTS.map((slot) => makeRun(slot, 2, 1));
    const second = await tokensOf(whole, 2, runs, first);

    const last = chain.stages[2] as TestHost;
    for (const slot of [0, 2]) await closeSession(last.client, sessionId(slot));
    chain.steps.send(makeFrame(2, runs, first));
    await chain.steps.next("ack");
    const { stepId, error } = await chain.steps.nextError();
    expect([stepId, error.code]).toEqual([2, "SESSION_NOT_FOUND"]);
    expect(error.details["sessionIds"]).toEqual([sessionId(0), sessionId(2)]);
    expect(error.details["nodeId"]).toBe("node-2");

    const rest = runs.slice(1, 2);
    const again = await tokensOf(chain, 3, rest, first.slice(1, 2));
    expect(again).toEqual(second.slice(1, 2));
    // The stages before had computed them and answered from the kept replies.
    expect(chain.stages.map(({ engine }) => engine.forwards)).toEqual([2, 2, 2]);
    const third = await tokensOf(whole, 3, [makeRun(1, 3, 1)], again);
    expect(await tokensOf(chain, 4, [makeRun(1, 3, 1)], again)).toEqual(third);
  });

  it("carries its pads to the engine of every stage, and they touch neither sessions nor what slots keep", async () => {
    const chain = await startChain(2, LAYERS + 2);
    const plain = await startChain(2, LAYERS + 2);
    const prompts = SLOTS.map((slot) => makeRun(slot, 0, 2));
    for (const each of [chain, plain]) await tokensOf(each, 1, prompts, [1, 2, 3, 4, 5, 6]);
    for (const { client } of chain.stages) expect(await closeSession(client, sessionId(2), true)).toBe(2);
    const one = [makeRun(1, 2, 1)];
    chain.steps.send({ ...makeFrame(2, one, [7]), pads: [0, 2, 3] });
    expect(tokenIds(await chain.results.next("result"))).toEqual(await tokensOf(plain, 2, one, [7]));
    expect(chain.stages.map(({ engine }) => engine.pads.at(-1))).toEqual([
      [0, 2, 3],
      [0, 2, 3],
    ]);
    await chain.steps.next("ack");
    const other = [makeRun(0, 2, 1)];
    expect(await tokensOf(chain, 3, other, [8])).toEqual(await tokensOf(plain, 3, other, [8]));
    for (const { client } of chain.stages) expect(await closeSession(client, sessionId(2), true)).toBe(2);
    // A slot that does not exist is nobody's pad.
    chain.steps.send({ ...makeFrame(4, [makeRun(0, 3, 1)], [9]), pads: [4] });
    expect((await chain.steps.nextError()).error.code).toBe("FRAME_INVALID");
  });

  it("computes the rest of a repeated step among dummies, so among as many rows as before", async () => {
    const chain = await startChain(LAYERS + 2);
    const { engine } = chain.stages[0] as TestHost;
    await tokensOf(chain, 1, [makeRun(0, 0, 1), makeRun(1, 0, 1)], [1, 2]);
    const repeated = SLOTS.map((slot) => makeRun(slot, 0, 1));
    const tokens = await tokensOf(chain, 2, repeated, [1, 2, 3]);
    const whole = await startChain(LAYERS + 2);
    expect(tokens).toEqual(await tokensOf(whole, 1, repeated, [1, 2, 3]));
    expect(engine.pads).toEqual([[], [0, 1]]);
  });

  it("brings the log-probabilities that its runs ask for, a repeated one too, and samples nothing where the next token is known", async () => {
    const chain = await startChain(2, LAYERS + 2);
    const runs = [
      makeRun(0, 0, 3, { output: "all", topLogprobs: 2, following: 44 }),
      makeRun(1, 0, 2, { topLogprobs: 0 }),
      makeRun(2, 0, 1),
    ];
    const frame = makeFrame(1, runs, [11, 12, 13, 21, 22, 31]);
    chain.steps.send(frame);
    const result = await chain.results.next("result");
    await chain.steps.next("ack");
    expect(result.tokens.map(({ position }) => position)).toEqual([2, 1]);
    const [sampledBehindB] = tokenIds(result);
    const said = result.logprobs.map(({ sessionId: id, position, tokenId }) => [
      Buffer.from(id).toString("hex"),
      position,
      tokenId,
    ]);
    expect(said).toEqual([
      [sessionId(0), 1, 12],
      [sessionId(0), 2, 13],
      [sessionId(0), 3, 44],
      [sessionId(1), 2, sampledBehindB],
    ]);
    expect(result.logprobs.map(({ topTokenIds }) => topTokenIds.length)).toEqual([2, 2, 2, 0]);
    for (const { logprob, topLogprobs } of result.logprobs) {
      for (const value of [logprob, ...topLogprobs]) expect(value).toBeLessThanOrEqual(0);
    }
    chain.steps.send({ ...frame, stepId: 2 });
    const again = await chain.results.next("result");
    expect(again.logprobs).toEqual(result.logprobs);
    expect(chain.stages.map(({ engine }) => engine.forwards)).toEqual([1, 1]);
  });

  it("lies ready before the engine while another is computed, unless they share a session", async () => {
    const chain = await startChain(LAYERS + 2);
    const { engine } = chain.stages[0] as TestHost;
    let open = (): void => undefined;
    engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    chain.steps.send(makeFrame(1, [makeRun(0, 0, 1), makeRun(1, 0, 1)], [1, 2]));
    chain.steps.send(makeFrame(2, [makeRun(2, 0, 1)], [3]));
    chain.steps.send(makeFrame(3, [makeRun(2, 1, 1)], [4]));
    while (engine.forwards < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    await new Promise((resolve) => setTimeout(resolve, 30));
    expect(engine.forwards).toBe(2);
    open();
    for (const stepId of [1n, 2n, 3n]) expect((await chain.results.next("result")).stepId).toBe(stepId);
    expect(engine.forwards).toBe(3);
  });
});
