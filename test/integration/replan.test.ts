import { afterEach, describe, expect, it } from "vitest";
import type { GenerateEvent, WantedPlan } from "../../src/cluster/coordinator/index.ts";
import { NoodleError } from "../../src/common/index.ts";
import type { ClusterObserver } from "../../src/observe/index.ts";
import { collect, FakeCluster, type FakeWorkerOptions, generateUndivided } from "./fake-cluster.ts";

const never = new AbortController().signal;
const PROMPT = "the quick brown fox";
/** The fake model has 6 units; two workers by bytes have three each. */
const FIRST = "0:3,3:6";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function wantPlan(split: string, order: readonly string[], change: Partial<WantedPlan> = {}): WantedPlan {
  const terms = {
    sha256: "ab".repeat(32),
    decodeInFlight: null,
    maxDecodeRows: null,
    prefillRows: null,
    mixedPrefillRows: null,
    predictedPeriodMs: 2,
    predictedLatencyMs: 4.5,
    predictedTokensPerSec: 100,
  };
  return { split, order, terms, modelHeaderSha256: null, ...change };
}

interface Setting {
  readonly workers?: number;
  readonly options?: Partial<Parameters<typeof FakeCluster.start>[0]>;
  readonly worker?: Partial<FakeWorkerOptions>;
}

async function startCluster({ workers = 2, options = {}, worker = {} }: Setting = {}): Promise<{
  cluster: FakeCluster;
  events: string[];
}> {
  const events: string[] = [];
  const observer: ClusterObserver = { onEvent: ({ name }) => events.push(name) };
  const cluster = await FakeCluster.start({ expect: workers, observer, ...options });
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

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return NoodleError.from(error).code;
  }
  throw new Error("nothing was thrown");
}

/** A generation that a test reads at its own pace, from behind its first token. */
async function startStream(cluster: FakeCluster, maxTokens: number): Promise<AsyncIterator<GenerateEvent>> {
  const events = cluster.coordinator.generate({ prompt: PROMPT, maxTokens, ignoreEos: true }, never);
  const iterator = events[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) throw new Error("the generation ended before its first token");
    if (value.type === "token") return iterator;
  }
}

async function readTokens(iterator: AsyncIterator<GenerateEvent>): Promise<number[]> {
  const tokens: number[] = [];
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) return tokens;
    if (value.type === "token") tokens.push(value.tokenId);
  }
}

function generate(cluster: FakeCluster): Promise<{ tokens: readonly number[] }> {
  return collect(cluster.coordinator.generate({ prompt: PROMPT, maxTokens: 6, ignoreEos: true }, never));
}

const SLOW = { faults: { computeMs: 4 } } as const;

describe("a plan that is given at the start", () => {
  it("is taken with its split, its nodes and its policy, and leaves the others out", async () => {
    const plan = wantPlan("0:2,2:6", ["name-w2", "name-w0"]);
    const terms = { ...plan.terms, decodeInFlight: 3, maxDecodeRows: 2, prefillRows: 5 };
    const { cluster } = await startCluster({ workers: 3, options: { plan: { ...plan, terms } } });
    const status = cluster.coordinator.status();
    expect(status.plan).toMatchObject({
      split: "0:2,2:6",
      order: ["name-w2", "name-w0"],
      sha256: "ab".repeat(32),
      predicted: { period_ms: 2, latency_ms: 4.5, tokens_per_s: 100 },
      next: null,
      former: null,
    });
    expect(status.serving.policy).toMatchObject({ decode_in_flight: 3, max_decode_rows: 2, prefill_rows: 8 });
    expect(status.nodes.find(({ id }) => id === "w1")).toMatchObject({ state: "standby", units: null });
    const { tokens } = await generate(cluster);
    expect(tokens).toEqual(generateUndivided({ prompt: PROMPT, maxTokens: 6 }).tokens);
  });

  it("waits for the nodes that it names", async () => {
    const cluster = await FakeCluster.start({ expect: 2, plan: wantPlan(FIRST, ["name-w0", "name-far"]) });
    closers.push(() => cluster.close());
    await cluster.addWorkers(2);
    await expect(cluster.ready(300)).rejects.toMatchObject({
      code: "TIMED_OUT",
      message: expect.stringContaining("name-far"),
    });
    await cluster.addWorker("far");
    await cluster.ready();
    expect(cluster.coordinator.status().plan?.order).toEqual(["name-w0", "name-far"]);
  });

  it("is refused for more stages than workers, and with another number of nodes than stages", async () => {
    const start = (plan: WantedPlan): Promise<FakeCluster> => FakeCluster.start({ expect: 2, plan });
    await expect(start(wantPlan("0:2,2:4,4:6", ["a", "b", "c"]))).rejects.toMatchObject({ code: "PLAN_INVALID" });
    await expect(start(wantPlan(FIRST, ["a"]))).rejects.toMatchObject({ code: "PLAN_INVALID" });
    await expect(start(wantPlan(FIRST, ["a", "a"]))).rejects.toMatchObject({ code: "PLAN_INVALID" });
  });
});

describe("a plan for a running cluster", () => {
  it("takes over with a stream that runs, whose tokens are those that it would have had", async () => {
    const { cluster, events } = await startCluster({ worker: SLOW });
    const { coordinator } = cluster;
    const epoch = coordinator.epoch;
    const stream = await startStream(cluster, 80);
    const asked = coordinator.replan(wantPlan("0:1,1:6", ["name-w0", "name-w1"]), "a test asks for it");
    expect(asked).toMatchObject({ changes: true, epoch: epoch + 1, from: { split: FIRST }, to: { split: "0:1,1:6" } });
    await until(() => coordinator.epoch === epoch + 1, "the new plan in force");
    expect(coordinator.status()).toMatchObject({
      health: { status: "ready" },
      plan: { split: "0:1,1:6", reason: "a test asks for it" },
    });
    const [fresh, rest] = await Promise.all([generate(cluster), readTokens(stream)]);
    const { tokens } = generateUndivided({ prompt: PROMPT, maxTokens: 80 });
    expect(rest).toEqual(tokens.slice(1));
    expect(fresh.tokens).toEqual(tokens.slice(0, 6));
    await until(() => coordinator.status().plan?.former === null, "the old plan gone");
    await until(() => cluster.workers.every(({ retired }) => retired.includes(BigInt(epoch))), "its stages freed");
    expect(events.filter((name) => name.startsWith("replan."))).toEqual([
      "replan.preparing",
      "replan.ready",
      "replan.switched",
      "replan.retired",
    ]);
    expect((await generate(cluster)).tokens).toEqual(fresh.tokens);
    expect(coordinator.replan(wantPlan(FIRST, ["name-w1", "name-w0"]), "the other way round").changes).toBe(true);
    await until(() => coordinator.epoch === epoch + 2 && coordinator.status().plan?.former === null, "a third plan");
    expect((await generate(cluster)).tokens).toEqual(fresh.tokens);
  });

  it("says what it would change without changing anything, and nothing for the plan in force", async () => {
    const { cluster } = await startCluster();
    const { coordinator } = cluster;
    const before = coordinator.status().plan;
    const dry = coordinator.replan(wantPlan("0:4,4:6", ["name-w0", "w1"]), "?", { dryRun: true });
    expect(dry).toMatchObject({
      dry_run: true,
      epoch: null,
      moves: [
        { node: "name-w0", from: "0:3", to: "0:4" },
        { node: "name-w1", from: "3:6", to: "4:6" },
      ],
    });
    expect(coordinator.replan(wantPlan(FIRST, ["name-w0", "name-w1"]), "again")).toMatchObject({
      changes: false,
      epoch: null,
    });
    expect(coordinator.status().plan).toEqual(before);
  });

  it("is refused when it names unknown nodes, too many, another model or no split, and changes nothing", async () => {
    const { cluster } = await startCluster();
    const { coordinator } = cluster;
    const before = coordinator.status().plan;
    const ask = (plan: WantedPlan): string => codeOf(() => coordinator.replan(plan, "wrong"));
    expect(ask(wantPlan(FIRST, ["name-w0", "nobody"]))).toBe("PLAN_INVALID");
    expect(ask(wantPlan("0:2,2:4,4:6", ["name-w0", "name-w1", "w2"]))).toBe("PLAN_INVALID");
    expect(ask(wantPlan(FIRST, ["name-w0"]))).toBe("PLAN_INVALID");
    expect(ask(wantPlan("0:3,4:6", ["name-w0", "name-w1"]))).toBe("ILLEGAL_STATE");
    expect(coordinator.status().plan).toEqual(before);
    expect((await generate(cluster)).tokens).toHaveLength(6);
  });

  it("leaves the old plan in force when a stage of it can't be loaded", async () => {
    const refuse: FakeWorkerOptions["refuse"] = ({ beside }) =>
      beside ? new NoodleError("STAGE_CORRUPT", "the disk is worn") : undefined;
    const { cluster, events } = await startCluster({ worker: { ...SLOW, refuse } });
    const { coordinator } = cluster;
    const epoch = coordinator.epoch;
    const stream = await startStream(cluster, 40);
    coordinator.replan(wantPlan("0:1,1:6", ["name-w0", "name-w1"]), "in vain");
    await until(() => coordinator.status().plan?.refused !== null, "its refusal");
    expect(coordinator.status()).toMatchObject({
      health: { status: "ready" },
      plan: { epoch, split: FIRST, next: null, former: null, refused: { code: "STAGE_CORRUPT" } },
    });
    const { tokens } = generateUndivided({ prompt: PROMPT, maxTokens: 40 });
    expect(await readTokens(stream)).toEqual(tokens.slice(1));
    expect((await generate(cluster)).tokens).toEqual(tokens.slice(0, 6));
    expect(events).toContain("replan.refused");
  });

  it("gives the next plan up when one of its workers dies, and serves on with the old one", async () => {
    const { cluster } = await startCluster();
    // It says that it loads, and no more.
    const third = await cluster.addWorker("w2", { loadsForever: true });
    const { coordinator } = cluster;
    await until(() => coordinator.status().nodes.length === 3, "the third worker");
    const epoch = coordinator.epoch;
    coordinator.replan(wantPlan("0:2,2:4,4:6", ["name-w0", "name-w1", "name-w2"]), "one more");
    await until(() => coordinator.status().plan?.next?.ready_stages === 2, "two of three stages");
    await third.kill();
    await until(() => coordinator.status().plan?.refused !== null, "its end");
    expect(coordinator.status()).toMatchObject({
      health: { status: "ready" },
      plan: { epoch, split: FIRST, next: null, refused: { code: "PEER_DEAD" } },
    });
    expect((await generate(cluster)).tokens).toHaveLength(6);
  });
});

describe("a plan for which there is no room beside the old one", () => {
  const refuse: FakeWorkerOptions["refuse"] = ({ beside }) =>
    beside ? new NoodleError("MEMORY_INSUFFICIENT", "one stage fits, two do not") : undefined;

  it("waits for the end of what runs, and what comes meanwhile waits in line", async () => {
    const { cluster, events } = await startCluster({ worker: { ...SLOW, refuse } });
    const { coordinator } = cluster;
    const stream = await startStream(cluster, 60);
    coordinator.replan(wantPlan("0:1,1:6", ["name-w0", "name-w1"]), "no room");
    await until(() => coordinator.status().plan?.next?.mode === "drain", "draining");
    const waiting = generate(cluster);
    await until(() => coordinator.status().serving.queued === 1, "a request in line");
    expect(coordinator.status().sessions).toHaveLength(1);
    const { tokens } = generateUndivided({ prompt: PROMPT, maxTokens: 60 });
    expect(await readTokens(stream)).toEqual(tokens.slice(1));
    expect((await waiting).tokens).toEqual(tokens.slice(0, 6));
    expect(coordinator.status()).toMatchObject({ health: { status: "ready" }, plan: { split: "0:1,1:6" } });
    expect(events).toEqual(expect.arrayContaining(["replan.draining", "replan.drained"]));
  });

  it("gives the old stages out again when the new ones can't be loaded, and no request fails", async () => {
    const neverFits: FakeWorkerOptions["refuse"] = ({ beside, firstUnit, endUnit }) =>
      beside || (firstUnit === 1 && endUnit === 6) ? new NoodleError("MEMORY_INSUFFICIENT", "too much") : undefined;
    const { cluster, events } = await startCluster({ worker: { refuse: neverFits } });
    const { coordinator } = cluster;
    const epoch = coordinator.epoch;
    coordinator.replan(wantPlan("0:1,1:6", ["name-w0", "name-w1"]), "too much");
    const waiting = generate(cluster);
    expect((await waiting).tokens).toHaveLength(6);
    await until(() => events.includes("replan.reverted"), "the old stages");
    await until(() => coordinator.status().health.status === "ready", "a cluster that serves");
    expect(coordinator.status().plan?.split).toBe(FIRST);
    expect(coordinator.epoch).toBeGreaterThan(epoch + 1);
    expect((await generate(cluster)).tokens).toHaveLength(6);
  });
});
