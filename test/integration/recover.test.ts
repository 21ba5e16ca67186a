import { afterEach, describe, expect, it } from "vitest";
import type { GenerateEvent, GenerateRequest, WantedPlan } from "../../src/cluster/coordinator/index.ts";
import { must, NoodleError } from "../../src/common/index.ts";
import type { EventRecord } from "../../src/observe/index.ts";
import { collect, FakeCluster, type FakeWorkerOptions, fakeModel, generateUndivided } from "./fake-cluster.ts";

/* Streams that outlive the stages that they run on: every token comes once, and is the one that it would have been. */

const never = new AbortController().signal;
const SLOW = { faults: { computeMs: 2 } } as const;
const SEEDED = { temperature: 0.9, topK: 40, topP: 1, minP: 0, repeatPenalty: 1.1, seed: 7 };

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Started {
  readonly cluster: FakeCluster;
  readonly events: EventRecord[];
}

async function start(
  workers: number,
  options: Partial<Parameters<typeof FakeCluster.start>[0]> = {},
  worker: Partial<FakeWorkerOptions> = SLOW,
): Promise<Started> {
  const events: EventRecord[] = [];
  const observer = { onEvent: (event: EventRecord) => void events.push(event) };
  const model = fakeModel([10, 20, 20, 20, 20, 10]);
  const cluster = await FakeCluster.start({ expect: workers, observer, model, ...options });
  closers.push(() => cluster.close());
  await cluster.addWorkers(workers, worker);
  await cluster.ready();
  return { cluster, events };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}`);
}

/** Three streams of different kinds, each beyond its first token. */
async function startStreams(
  { coordinator }: FakeCluster,
  maxTokens = 30,
): Promise<{ readonly requests: readonly GenerateRequest[]; readonly results: Promise<readonly number[]>[] }> {
  const requests: readonly GenerateRequest[] = [
    { prompt: "the quick brown fox", maxTokens, ignoreEos: true },
    { prompt: "jumps over", maxTokens, ignoreEos: true, sampling: SEEDED },
    { prompt: "a lazy dog and a cat beside it", maxTokens, ignoreEos: true, topLogprobs: 1 },
  ];
  const begun: Promise<void>[] = [];
  const results = requests.map(async (request) => {
    let tell: () => void = () => undefined;
    begun.push(new Promise((resolve) => (tell = resolve)));
    const tokens: number[] = [];
    for await (const event of coordinator.generate(request, never)) {
      if (event.type !== "token") continue;
      expect(event.index).toBe(tokens.length);
      tokens.push(event.tokenId);
      if (tokens.length === 3) tell();
    }
    return tokens;
  });
  await Promise.race([Promise.all(begun), Promise.all(results)]);
  return { requests, results };
}

async function expectUndisturbed({ requests, results }: Awaited<ReturnType<typeof startStreams>>): Promise<void> {
  const all = await Promise.all(results);
  for (const [index, tokens] of all.entries()) {
    expect(tokens).toEqual(generateUndivided(must(requests[index], "request")).tokens);
  }
}

function recoveryOf(events: readonly EventRecord[]): EventRecord {
  return must(
    events.find(({ name }) => name === "recovery.done"),
    "event of a recovery",
  );
}

async function readFirst(events: AsyncIterable<GenerateEvent>): Promise<AsyncIterator<GenerateEvent>> {
  const iterator = events[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) throw new Error("it ended before its first token");
    if (value.type === "token") return iterator;
  }
}

async function drain(iterator: AsyncIterator<GenerateEvent>): Promise<NoodleError | null> {
  try {
    while ((await iterator.next()).done !== true);
    return null;
  } catch (error) {
    return NoodleError.from(error);
  }
}

describe("streams whose stages are gone", () => {
  it("go on when the engine of a stage died and was started again", async () => {
    const { cluster, events } = await start(3);
    const epoch = cluster.coordinator.epoch;
    const streams = await startStreams(cluster);
    await cluster.workers[1]?.restartHost();
    await expectUndisturbed(streams);
    expect(cluster.coordinator.epoch).toBe(epoch + 1);
    expect(recoveryOf(events)).toMatchObject({
      nodeId: "w1",
      details: { cause: "engine_abort", epoch: epoch + 1, sessions: 3, resumed: 3, exact: true },
    });
    expect(cluster.coordinator.status().sessions).toEqual([]);
  });

  it("go on with a spare worker that takes the place of a dead one; those that are left load nothing", async () => {
    const { cluster, events } = await start(3);
    const spare = await cluster.addWorker("spare", SLOW);
    await until(() => cluster.coordinator.status().nodes.length === 4, "the spare");
    const streams = await startStreams(cluster);
    await cluster.workers[1]?.kill();
    await expectUndisturbed(streams);
    const { cause, replan_ms: replanMs, tokens_refilled: tokens } = recoveryOf(events).details;
    expect([cause, Number(replanMs) >= 0, Number(tokens) > 50]).toEqual(["peer_dead", true, true]);
    expect(spare.assignments.map(({ firstUnit, endUnit }) => [firstUnit, endUnit])).toEqual([[2, 4]]);
    const [first] = cluster.workers;
    expect(new Set(first?.assignments.map((each) => `${each.firstUnit}:${each.endUnit}`))).toEqual(new Set(["0:2"]));
  });

  it("go on with the workers that are left, and live again on all of them when one comes", async () => {
    const { cluster, events } = await start(3);
    const { coordinator } = cluster;
    const streams = await startStreams(cluster, 90);
    await cluster.workers[1]?.kill();
    await until(() => coordinator.status().plan?.split === "0:3,3:6", "two stages");
    await cluster.ready();
    await cluster.addWorker("again", SLOW);
    await until(() => coordinator.status().plan?.split === "0:2,2:4,4:6", "three stages");
    await expectUndisturbed(streams);
    await until(() => coordinator.status().plan?.former === null, "the plan between gone");
    expect(recoveryOf(events)).toMatchObject({ details: { cause: "peer_dead", resumed: 3 } });
    expect(events.filter(({ name }) => name === "session.moved").length).toBeGreaterThan(0);
  });

  it("go on when a worker that said nothing for a lease is replaced, whatever it says later", async () => {
    const { cluster, events } = await start(2, { leaseMs: 600 }, { faults: { computeMs: 6 } });
    await cluster.addWorker("spare", SLOW);
    const streams = await startStreams(cluster, 80);
    cluster.workers[1]?.fallSilent();
    await expectUndisturbed(streams);
    expect(recoveryOf(events)).toMatchObject({ nodeId: "w1", details: { cause: "peer_stalled" } });
  });

  it("wait for a worker, those in line too, and go on when it comes", async () => {
    const { cluster } = await start(2, { model: fakeModel(), parallel: 3 });
    const { coordinator } = cluster;
    const streams = await startStreams(cluster);
    const request = { prompt: "last", maxTokens: 5, ignoreEos: true };
    const inLine = collect(coordinator.generate(request, never));
    await until(() => coordinator.status().serving.queued === 1, "one in line");
    await cluster.workers[0]?.kill();
    await until(() => coordinator.status().health.status === "waiting", "the loss");
    await cluster.addWorker("again", SLOW);
    await expectUndisturbed(streams);
    expect((await inLine).tokens).toEqual(generateUndivided(request).tokens);
  });

  it("end with the cause when no worker comes in time, and at their deadline before that", async () => {
    const { cluster } = await start(2, { model: fakeModel(), recoveryWaitMs: 700 });
    const { coordinator } = cluster;
    const request = { prompt: "the quick", maxTokens: 100, ignoreEos: true };
    const patient = await readFirst(coordinator.generate(request, never));
    const hasty = await readFirst(coordinator.generate({ ...request, deadlineMs: 400 }, never));
    await cluster.workers[1]?.kill();
    const [first, second] = await Promise.all([drain(patient), drain(hasty)]);
    expect(first).toMatchObject({ code: "PEER_DEAD", details: { nodeId: "w1" } });
    expect(second?.code).toBe("DEADLINE_EXCEEDED");
    expect(coordinator.status().sessions).toEqual([]);
    await cluster.addWorker("again", SLOW);
    await cluster.ready();
    const { tokens } = await collect(coordinator.generate({ ...request, maxTokens: 4 }, never));
    expect(tokens).toEqual(generateUndivided({ ...request, maxTokens: 4 }).tokens);
  });

  it("go on behind two losses in a row, in the middle of the refill", async () => {
    const { cluster } = await start(3);
    await cluster.addWorker("s1", SLOW);
    await cluster.addWorker("s2", SLOW);
    const streams = await startStreams(cluster);
    await cluster.workers[0]?.kill();
    await cluster.workers[2]?.kill();
    await expectUndisturbed(streams);
    expect(cluster.coordinator.status().plan?.order).toEqual(["name-s1", "name-w1", "name-s2"]);
  });
});

describe("streams whose plan is followed by another", () => {
  const wanted = (split: string, order: readonly string[]): WantedPlan => {
    const none = { decodeInFlight: null, maxDecodeRows: null, prefillRows: null, mixedPrefillRows: null };
    const promised = { predictedPeriodMs: null, predictedLatencyMs: null, predictedTokensPerSec: null };
    return { split, order, terms: { sha256: "", ...none, ...promised }, modelHeaderSha256: null };
  };

  it("move to it one by one, and the old plan is gone while they run", async () => {
    const { cluster, events } = await start(2);
    const { coordinator } = cluster;
    const epoch = coordinator.epoch;
    const streams = await startStreams(cluster, 80);
    coordinator.replan(wanted("0:1,1:6", ["w0", "w1"]), "a test");
    await until(() => coordinator.epoch === epoch + 1 && coordinator.status().plan?.former === null, "the new plan");
    expect(coordinator.status().sessions.map((session) => session.epoch)).toEqual([epoch + 1, epoch + 1, epoch + 1]);
    await expectUndisturbed(streams);
    const moves = events.filter(({ name }) => name === "session.moved");
    expect(moves).toHaveLength(3);
    expect(moves.every(({ details }) => Number(details["stall_ms"]) >= 0)).toBe(true);
  });

  it("go on when a worker dies while they move", async () => {
    const { cluster } = await start(2);
    await cluster.addWorker("spare", SLOW);
    const { coordinator } = cluster;
    const epoch = coordinator.epoch;
    const streams = await startStreams(cluster, 80);
    coordinator.replan(wanted("0:1,1:6", ["w0", "w1"]), "a test");
    await until(() => coordinator.epoch > epoch, "the new plan");
    await cluster.workers[0]?.kill();
    await expectUndisturbed(streams);
    expect(coordinator.status().plan?.order).not.toContain("name-w0");
  });

  it("leave a worker that is about to go before it goes", async () => {
    const { cluster, events } = await start(3);
    const { coordinator } = cluster;
    const streams = await startStreams(cluster, 90);
    cluster.workers[1]?.leave();
    await until(() => coordinator.status().plan?.split === "0:3,3:6", "a plan without it");
    await until(() => coordinator.status().plan?.former === null, "the plan with it gone");
    await cluster.workers[1]?.kill();
    await expectUndisturbed(streams);
    expect(events.map(({ name }) => name)).not.toContain("plan.broken");
  });
});
