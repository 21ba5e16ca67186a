import { afterEach, describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { FakeStage, GREEDY } from "../../engine/index.ts";
import { type Observation, StreamRole, writeSessionId } from "../../protocol/index.ts";
import { writeSampling } from "../state/index.ts";
import {
  createSession,
  EPOCH,
  LAYERS,
  makeFrame,
  makeRun,
  sessionId,
  startTestHost,
  type TestHost,
  TestStream,
  tokenIds,
} from "./testing.ts";

const hosts: TestHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

async function startHost(...args: Parameters<typeof startTestHost>): Promise<TestHost> {
  const host = await startTestHost(...args);
  hosts.push(host);
  return host;
}

/** One host with all units, a session in slot 0, and both streams. */
async function startWhole(faults?: Parameters<typeof startTestHost>[2]): Promise<{
  host: TestHost;
  steps: TestStream;
  results: TestStream;
}> {
  const host = await startHost(0, LAYERS + 2, faults);
  await host.load();
  await createSession(host.client, 0);
  const results = await TestStream.open(host.client, StreamRole.RESULTS);
  return { host, steps: await TestStream.open(host.client), results };
}

/** Two hosts in a row, a session in slots 0 and 1. */
async function startChain(faults?: Parameters<typeof startTestHost>[2]): Promise<{
  first: TestHost;
  second: TestHost;
  steps: TestStream;
  results: TestStream;
}> {
  const second = await startHost(2, LAYERS + 2, faults);
  const first = await startHost(0, 2);
  await second.load({ stage: 1 });
  await first.load({ nextAddress: second.address, nextNodeId: "node-2" });
  for (const { client } of [first, second]) for (const slot of [0, 1]) await createSession(client, slot);
  const results = await TestStream.open(second.client, StreamRole.RESULTS);
  return { first, second, steps: await TestStream.open(first.client), results };
}

async function codeOf(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
  } catch (error) {
    return NoodleError.from(error).code;
  }
  return "nothing thrown";
}

/** Until `condition` holds; the test's own limit ends a wait for ever. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("StageHost", () => {
  it("computes steps of several sessions in one call and sends sampled tokens to whoever listens", async () => {
    const { host, steps, results } = await startWhole();
    await createSession(host.client, 1);
    const runs = [makeRun(0, 0, 2), makeRun(1, 0, 3)];
    steps.send(makeFrame(1, runs, [1, 2, 3, 4, 5]));
    const result = await results.next("result");
    await steps.next("ack");
    expect(host.engine.forwards).toBe(1);
    const model = { units: { first: 0, end: LAYERS + 2 }, layers: LAYERS, nEmbd: 4, nVocab: 50 };
    const reference = new FakeStage(model, { stageFile: "", contextTokens: 32, parallel: 4, threads: 1 });
    reference.openSlot(0, GREEDY);
    reference.openSlot(1, GREEDY);
    const plain = runs.map(({ slot, position, rows, output }) => ({ slot, position, rows, output }));
    const expected = reference.forward({ runs: plain, tokens: Int32Array.of(1, 2, 3, 4, 5), hidden: null });
    expect(tokenIds(result)).toEqual(expected.sampled.map(({ tokenId }) => tokenId));
    expect(result.tokens.map(({ position }) => position)).toEqual([2, 3]);
    expect(result.timings.map(({ stage }) => stage)).toEqual([0]);
  });

  it("gives through two hosts what one host gives, with a timing for each stage", async () => {
    const { first, steps, results } = await startChain();
    const whole = await startWhole();
    const history = [3, 1, 4];
    for (let step = 1; step <= 6; step++) {
      const position = step === 1 ? 0 : history.length - 1;
      const tokens = history.slice(position);
      const frame = makeFrame(step, [makeRun(0, position, tokens.length)], tokens);
      for (const stream of [steps, whole.steps]) stream.send(frame);
      const [split, undivided] = [await results.next("result"), await whole.results.next("result")];
      expect(tokenIds(split)).toEqual(tokenIds(undivided));
      expect(split.timings.map(({ stage }) => stage)).toEqual([0, 1]);
      // The hop to stage 1 is known from the first acknowledgement on.
      if (step > 2) expect(Number(split.timings[1]?.hopNs)).toBeGreaterThan(0);
      const ack = await steps.next("ack");
      expect(ack.stepId).toBe(BigInt(step));
      await whole.steps.next("ack");
      history.push(...tokenIds(split));
    }
    expect(first.engine.forwards).toBe(6);
  });

  it("computes a step that asks to be observed where the engine has no hooks, and tells nothing", async () => {
    const seen: Observation[] = [];
    const stage = await startHost(0, LAYERS + 2, undefined, 0, (observation) => void seen.push(observation));
    await stage.load({ hooks: false });
    await createSession(stage.client, 0);
    const steps = await TestStream.open(stage.client);
    const results = await TestStream.open(stage.client, StreamRole.RESULTS);
    const asking = { ...makeFrame(1, [makeRun(0, 0, 2)], [7, 8]), observe: "role" as const };
    steps.send(asking);
    const blind = tokenIds(await results.next("result"));
    expect(seen).toEqual([]);
    await stage.load({ hooks: true, epoch: EPOCH });
    await createSession(stage.client, 0);
    const again = await TestStream.open(stage.client);
    const more = await TestStream.open(stage.client, StreamRole.RESULTS);
    again.send(asking);
    expect(tokenIds(await more.next("result"))).toEqual(blind);
    await again.next("ack");
    // A repeated step is answered from the kept reply: there is nothing to see.
    again.send({ ...asking, stepId: 2 });
    await more.next("result");
    await again.next("ack");
    await until(() => seen.length > 0);
    expect(seen.map(({ stepId, level, stage: index }) => [stepId, level, index])).toEqual([[1n, 2, 0]]);
  });

  it("answers a repeated step from the kept reply, on every stage", async () => {
    const { first, second, steps, results } = await startChain();
    const frame = makeFrame(1, [makeRun(0, 0, 2)], [7, 8]);
    steps.send(frame);
    const once = await results.next("result");
    await steps.next("ack");
    steps.send({ ...frame, stepId: 2 });
    const again = await results.next("result");
    expect(again.stepId).toBe(2n);
    expect(tokenIds(again)).toEqual(tokenIds(once));
    expect([first.engine.forwards, second.engine.forwards]).toEqual([1, 1]);
  });

  it("computes only what is new when a step repeats one session and continues another", async () => {
    const { first, steps, results } = await startChain();
    steps.send(makeFrame(1, [makeRun(0, 0, 2)], [7, 8]));
    const once = tokenIds(await results.next("result"));
    steps.send(makeFrame(2, [makeRun(0, 0, 2), makeRun(1, 0, 1)], [7, 8, 9]));
    const mixed = tokenIds(await results.next("result"));
    expect(mixed).toHaveLength(2);
    expect(mixed[0]).toBe(once[0]);
    expect(first.engine.forwards).toBe(2);
  });

  it("refuses out-of-order and stale steps without changing anything", async () => {
    const { host, steps, results } = await startWhole();
    const attempt = async (stepId: number, run: ReturnType<typeof makeRun>, epoch = EPOCH): Promise<NoodleError> => {
      steps.send({ ...makeFrame(stepId, [run], new Array<number>(run.rows).fill(1)), epoch });
      const answer = await steps.nextError();
      expect(answer.stepId).toBe(stepId);
      return answer.error;
    };
    const gap = await attempt(1, makeRun(0, 1, 1));
    expect(gap.code).toBe("STEP_OUT_OF_ORDER");
    expect(gap.details["have"]).toBe(0);
    expect((await attempt(2, makeRun(0, 0, 1, { fence: 0 }))).code).toBe("STALE_EPOCH");
    expect((await attempt(3, makeRun(0, 0, 1), EPOCH - 1)).code).toBe("STALE_EPOCH");
    expect((await attempt(4, makeRun(2, 0, 1))).code).toBe("SESSION_NOT_FOUND");
    expect((await attempt(5, makeRun(0, 0, 1, { slot: 3 }))).code).toBe("FRAME_INVALID");
    expect(host.engine.forwards).toBe(0);
    steps.send(makeFrame(6, [makeRun(0, 0, 1)], [1]));
    expect((await results.next("result")).stepId).toBe(6n);
  });

  it("goes back to an earlier position for a higher fence and comes to the same tokens", async () => {
    const { steps, results } = await startChain();
    const send = async (
      stepId: number,
      run: ReturnType<typeof makeRun>,
      tokens: number[],
    ): Promise<readonly number[]> => {
      steps.send(makeFrame(stepId, [run], tokens));
      const ids = tokenIds(await results.next("result"));
      await steps.next("ack");
      return ids;
    };
    await send(1, makeRun(0, 0, 2), [1, 2]);
    const straight = await send(2, makeRun(0, 2, 1), [3]);
    await send(3, makeRun(0, 3, 1), [4]);
    expect(await send(4, makeRun(0, 2, 1, { fence: 2 }), [3])).toEqual(straight);
  });

  it("refuses a damaged frame, computes nothing and goes on with the stream", async () => {
    const { host, steps, results } = await startWhole();
    const frame = makeFrame(1, [makeRun(0, 0, 2)], [1, 2]);
    steps.send(frame, (bytes) => {
      bytes[70] = (bytes[70] ?? 0) ^ 4;
    });
    const { stepId, error } = await steps.nextError();
    expect([stepId, error.code]).toEqual([0, "FRAME_CORRUPT"]);
    expect(host.engine.forwards).toBe(0);
    steps.send(frame);
    expect(tokenIds(await results.next("result"))).toHaveLength(1);
  });

  it("carries an error of the last stage up to the sender, once, under the same step", async () => {
    const { steps, results } = await startChain({ nonFiniteOnToken: 13 });
    steps.send(makeFrame(1, [makeRun(0, 0, 1)], [13]));
    await steps.next("ack");
    const { stepId, error } = await steps.nextError();
    expect([stepId, error.code, error.details["nodeId"]]).toEqual([1, "NON_FINITE", "node-2"]);
    steps.send(makeFrame(2, [makeRun(1, 0, 1)], [5]));
    expect((await results.next("result")).stepId).toBe(2n);
    await steps.next("ack");
    expect(steps.received).toBe(0);
  });

  it("names the cause when the next stage dies and goes on when it is back", async () => {
    const { first, second, steps } = await startChain();
    let open = (): void => undefined;
    second.engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    steps.send(makeFrame(1, [makeRun(0, 0, 1)], [1]));
    await steps.next("ack");
    await until(() => second.engine.forwards === 1);
    await second.kill();
    open();
    const dead = await steps.nextError();
    expect([dead.stepId, dead.error.code]).toEqual([1, "PEER_DEAD"]);
    steps.send(makeFrame(2, [makeRun(1, 0, 1)], [1]));
    const unreachable = await steps.nextError();
    expect([unreachable.stepId, unreachable.error.code]).toEqual([2, "PEER_UNREACHABLE"]);

    const reborn = await startHost(2, LAYERS + 2, undefined, Number(second.address.split(":")[1]));
    await reborn.load({ stage: 1 });
    const results = await TestStream.open(reborn.client, StreamRole.RESULTS);
    await createSession(first.client, 2);
    await createSession(reborn.client, 2);
    steps.send(makeFrame(3, [makeRun(2, 0, 1)], [1]));
    expect((await results.next("result")).stepId).toBe(3n);
  });

  it("calls a next stage that keeps a step beyond the limit stalled", async () => {
    const { second, steps } = await startChain();
    let open = (): void => undefined;
    second.engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    steps.send(makeFrame(1, [makeRun(0, 0, 1)], [1]));
    await steps.next("ack");
    const { stepId, error } = await steps.nextError();
    open();
    expect([stepId, error.code]).toEqual([1, "PEER_STALLED"]);
  });

  it("holds a sender that ignores its credits, and loses none of its steps", async () => {
    const { host, steps, results } = await startWhole();
    let open = (): void => undefined;
    host.engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    const count = 20;
    for (let i = 0; i < count; i++) steps.send(makeFrame(i + 1, [makeRun(0, i, 1)], [i]));
    await until(() => host.engine.forwards === 1);
    open();
    for (let i = 0; i < count; i++) expect((await results.next("result")).stepId).toBe(BigInt(i + 1));
    expect(host.engine.forwards).toBe(count);
  });

  it("lets no more steps than the credits of the next stage travel ahead", async () => {
    const { first, second, steps } = await startChain();
    let open = (): void => undefined;
    second.engine.gate = new Promise((resolve) => {
      open = resolve;
    });
    for (let i = 0; i < 12; i++) steps.send(makeFrame(i + 1, [makeRun(0, i, 1)], [i]));
    await until(() => second.engine.forwards === 1);
    // Two lie in the second stage, two wait in the first for credits, one more was read before the pause.
    await until(() => first.engine.forwards >= 4);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(first.engine.forwards).toBeLessThan(8);
    open();
    for (let i = 0; i < 12; i++) expect((await steps.next("ack")).stepId).toBe(BigInt(i + 1));
  });

  it("frees a session by CloseSession, by its lease and with its epoch", async () => {
    const { host, steps } = await startWhole();
    const id = writeSessionId(sessionId(0));
    const close = () =>
      host.client.rpc.closeSession({ epoch: BigInt(EPOCH), sessionId: id, fence: 1 }, { timeoutMs: 2000 });
    expect((await close()).existed).toBe(true);
    expect((await close()).existed).toBe(false);
    expect(host.engine.closedSlots).toEqual([0]);
    await createSession(host.client, 1);
    host.clock.ms += 59_000;
    await host.host.expireSessions();
    expect(host.host.sessions).toBe(1);
    host.clock.ms += 2000;
    await host.host.expireSessions();
    expect(host.host.sessions).toBe(0);
    await createSession(host.client, 2);
    await host.host.retire(EPOCH);
    expect(host.engine.closedSlots).toEqual([0, 1, 2]);
    expect(await codeOf(() => steps.next("ack"))).toBe("STALE_EPOCH");
    expect(await codeOf(() => createSession(host.client, 0))).toBe("CLUSTER_NOT_READY");
  });

  it("refuses a slot that is taken, a lower fence, and another epoch", async () => {
    const { host } = await startWhole();
    const create = (change: object) =>
      codeOf(() =>
        host.client.rpc.createSession(
          { epoch: BigInt(EPOCH), sessionId: writeSessionId(sessionId(9)), fence: 1, slot: 0, ...change },
          { timeoutMs: 2000 },
        ),
      );
    expect(await create({})).toBe("SESSION_LIMIT");
    expect(await create({ slot: 4 })).toBe("SESSION_LIMIT");
    expect(await create({ slot: 1, epoch: 4n })).toBe("STALE_EPOCH");
    expect(await create({ sessionId: writeSessionId(sessionId(0)), fence: 0 })).toBe("STALE_EPOCH");
    expect(await create({ slot: 1, sampling: { temperature: Number.NaN } })).toBe("FRAME_INVALID");
    expect(await create({ slot: 1 })).toBe("nothing thrown");
  });

  it("opens a slot with the sampling and the prompt's length that it was given", async () => {
    const { host } = await startWhole();
    const sampling = {
      ...GREEDY,
      temperature: 0.5,
      typicalP: 0.25,
      logitBias: [[7, Number.NEGATIVE_INFINITY]] as const,
    };
    await createSession(host.client, 1, { sampling: writeSampling(sampling), promptTokens: 9 });
    expect(host.engine.opened).toEqual([
      [0, GREEDY, { keepTokens: 0, promptTokens: 0 }],
      [1, sampling, { keepTokens: 0, promptTokens: 9 }],
    ]);
  });

  it("refuses streams of another protocol, of another epoch, and results where there is no head", async () => {
    const { first } = await startChain();
    expect(await codeOf(() => TestStream.open(first.client, StreamRole.STEPS, { protocolVersion: 99 }))).toBe(
      "PROTOCOL_MISMATCH",
    );
    expect(await codeOf(() => TestStream.open(first.client, StreamRole.STEPS, { epoch: 1n }))).toBe("STALE_EPOCH");
    expect(await codeOf(() => TestStream.open(first.client, StreamRole.RESULTS))).toBe("FRAME_INVALID");
    expect(await codeOf(() => TestStream.open(first.client, StreamRole.UNSPECIFIED))).toBe("FRAME_INVALID");
  });

  it("answers a step with an error when nobody listens to its results", async () => {
    const { steps, results } = await startWhole();
    results.cancel();
    // The host hears of it in its own time; until then it acknowledges.
    const answers: string[] = [];
    for (let i = 1; !answers.includes("error") && i <= 30; i++) {
      steps.send(makeFrame(i, [makeRun(0, i - 1, 1)], [1]));
      answers.push((await steps.nextOf("ack", "error")).case);
    }
    expect(answers.at(-1)).toBe("error");
  });

  it("reads the KV of a session as bytes and as hashes of the same bytes", async () => {
    const { host, steps, results } = await startWhole();
    steps.send(makeFrame(1, [makeRun(0, 0, 3)], [1, 2, 3]));
    await results.next("result");
    const request = { epoch: BigInt(EPOCH), sessionId: writeSessionId(sessionId(0)) };
    const bytes = [];
    for await (const chunk of host.client.rpc.readKv(request)) bytes.push(chunk);
    const hashes = [];
    for await (const chunk of host.client.rpc.readKv({ ...request, hashOnly: true })) hashes.push(chunk);
    expect(bytes.map(({ block, isValue }) => [block, isValue])).toEqual([
      [0, false],
      [0, true],
      [1, false],
      [1, true],
    ]);
    expect(bytes.map(({ data }) => data.length)).toEqual([48, 48, 48, 48]);
    expect(hashes.map(({ sha256 }) => Buffer.from(sha256).toString("hex"))).toEqual(
      bytes.map(({ sha256 }) => Buffer.from(sha256).toString("hex")),
    );
    expect(hashes.every(({ data }) => data.length === 0)).toBe(true);
  });

  it("refuses to serve a stage whose canary holds NaN", async () => {
    const host = await startHost(0, LAYERS + 2, { canaryNonFinite: true });
    expect(await codeOf(() => host.load())).toBe("NON_FINITE");
    expect(await codeOf(() => createSession(host.client, 0))).toBe("CLUSTER_NOT_READY");
  });

  it("keeps the loaded weights over an epoch when the stage is the same", async () => {
    const { host } = await startWhole();
    const second = await host.load({ epoch: EPOCH + 1 });
    expect([second.epoch, host.host.epoch, host.host.sessions]).toEqual([EPOCH + 1, EPOCH + 1, 0]);
    expect(await codeOf(() => createSession(host.client, 0))).toBe("STALE_EPOCH");
  });

  it("echoes a ping with its node and epoch", async () => {
    const { host } = await startWhole();
    const answer = await host.client.rpc.ping({ payload: Uint8Array.of(1, 2, 3) }, { timeoutMs: 2000 });
    expect([answer.nodeId, answer.epoch, [...answer.payload]]).toEqual(["node-0", BigInt(EPOCH), [1, 2, 3]]);
  });
});
