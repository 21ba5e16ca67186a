import { afterEach, describe, expect, it } from "vitest";
import { combineObservers } from "../../src/cluster/coordinator/index.ts";
import { must, NoodleError } from "../../src/common/index.ts";
import { createClient } from "../../src/net/index.ts";
import type {
  ClusterObserver,
  EventRecord,
  LayerRecord,
  LinkRecord,
  NodeRecord,
  PlanRecord,
  RequestRecord,
  StepRecord,
} from "../../src/observe/index.ts";
import { CoordinatorService, type Observation } from "../../src/protocol/index.ts";
import { collect, FAKE, FakeCluster, type FakeWorkerOptions, generateUndivided } from "./fake-cluster.ts";

const never = new AbortController().signal;
const PROMPT = "the quick brown fox jumps over the lazy dog";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

class Recording implements ClusterObserver {
  readonly requests: RequestRecord[] = [];
  readonly steps: StepRecord[] = [];
  readonly layers: LayerRecord[] = [];
  readonly links: LinkRecord[] = [];
  readonly nodes: NodeRecord[] = [];
  readonly plans: PlanRecord[] = [];
  readonly events: EventRecord[] = [];
  /** Insides of steps that came before their step. */
  early = 0;

  onRequest(record: RequestRecord): void {
    this.requests.push(record);
  }
  onStep(record: StepRecord): void {
    this.steps.push(record);
  }
  onLayer(record: LayerRecord): void {
    if (!this.steps.some((step) => step.stepId === record.stepId && step.epoch === record.epoch)) this.early += 1;
    this.layers.push(record);
  }
  onLink(record: LinkRecord): void {
    this.links.push(record);
  }
  onNode(record: NodeRecord): void {
    this.nodes.push(record);
  }
  onPlan(record: PlanRecord): void {
    this.plans.push(record);
  }
  onEvent(record: EventRecord): void {
    this.events.push(record);
  }

  get eventNames(): readonly string[] {
    return this.events.map((event) => event.name);
  }
}

async function startCluster(
  workers: number,
  options: Partial<Parameters<typeof FakeCluster.start>[0]> = {},
  workerOptions: Partial<FakeWorkerOptions> = {},
): Promise<FakeCluster> {
  const cluster = await FakeCluster.start({ expect: workers, ...options });
  closers.push(() => cluster.close());
  await cluster.addWorkers(workers, workerOptions);
  await cluster.ready();
  return cluster;
}

/** Waits, bounded, for what comes later than the token that it belongs to. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}`);
}

async function errorOf(promise: Promise<unknown>): Promise<NoodleError> {
  try {
    await promise;
  } catch (error) {
    return NoodleError.from(error);
  }
  throw new Error("nothing was thrown");
}

function unitsOf(record: LayerRecord): readonly number[] {
  return [...new Set(record.segments.map((segment) => segment.unit))].toSorted((a, b) => a - b);
}

describe("records of a running cluster", () => {
  it("has a record of every step with the times of all stages, prefill chunks without a token included", async () => {
    const seen = new Recording();
    const { coordinator } = await startCluster(3, { observer: seen, sampleEvery: 0 });
    const request = { prompt: PROMPT, maxTokens: 6 };
    const { tokens, done } = await collect(coordinator.generate(request, never));
    expect(tokens).toEqual(generateUndivided(request).tokens);
    expect(seen.steps.map((step) => step.rows)).toEqual(done.stepRows);
    expect(seen.steps.map((step) => step.phase)).toEqual([
      ...Array.from({ length: 6 }, () => "prefill"),
      ...Array.from({ length: 5 }, () => "decode"),
    ]);
    const [start, end] = seen.requests;
    expect(seen.requests).toHaveLength(2);
    let context = 0;
    for (const step of seen.steps) {
      context += step.rows;
      expect(step).toMatchObject({ level: "step", contextTokens: context, requestIds: [start?.requestId] });
      expect(step.epoch).toBe(coordinator.epoch);
      expect(must(step.receivedMonoNs, "time")).toBeGreaterThan(step.sentMonoNs);
      expect(step.stages.map(({ stage, nodeId }) => [stage, nodeId])).toEqual([
        [0, "w0"],
        [1, "w1"],
        [2, "w2"],
      ]);
      for (const stage of step.stages) {
        expect(stage.bytesIn).toBeGreaterThan(100);
        expect(Number.isSafeInteger(stage.computeNs) && stage.computeNs > 0).toBe(true);
      }
      // Hidden states are larger than token ids.
      expect(must(step.stages[1], "stage").bytesIn).toBeGreaterThan(must(step.stages[0], "stage").bytesIn);
    }
    expect(seen.steps.map((step) => step.stepId)).toEqual(seen.steps.map((_, index) => index + 1));
    expect(must(seen.steps.at(-1), "step").stages.every((stage) => stage.hopNs !== null)).toBe(true);
    expect(start).toMatchObject({ type: "start", promptTokens: PROMPT.length, maxTokens: 6, prompt: null });
    expect(end).toMatchObject({
      type: "end",
      requestId: start?.requestId,
      promptTokens: PROMPT.length,
      generatedTokens: 6,
      finishReason: "length",
      errorCode: null,
      temperature: 0,
    });
    if (end?.type !== "end") throw new Error("no end");
    expect(end.interTokenNs).toHaveLength(5);
    // It is told of when it has its slot, and counts from the call.
    const times = [end.startMonoNs, start?.monoNs, end.firstStepMonoNs, end.firstTokenMonoNs, end.monoNs].map(Number);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    expect(seen.layers).toEqual([]);
  });

  it("looks into every sampled step on all stages alike, each telling of its own units, and changes no result", async () => {
    const seen = new Recording();
    // Slow enough that the first stage tells of a step while the last one computes it.
    const { coordinator } = await startCluster(3, { observer: seen, sampleEvery: 3 }, { faults: { computeMs: 5 } });
    const request = {
      prompt: PROMPT,
      maxTokens: 12,
      wantLogits: true,
      wantKvHashes: true,
      sampling: { temperature: 0.9, topK: 0, topP: 1, minP: 0, repeatPenalty: 1.1, seed: 4 },
    };
    const observed = await collect(coordinator.generate(request, never));
    const plain = await startCluster(3, { hooks: false });
    const unobserved = await collect(plain.coordinator.generate(request, never));
    expect(observed.tokens).toEqual(unobserved.tokens);
    expect(observed.logits).toEqual(unobserved.logits);
    expect(observed.done.kv).toEqual(unobserved.done.kv);
    const sampled = seen.steps.filter((step) => step.level === "layer").map((step) => step.stepId);
    expect(sampled).toEqual(seen.steps.map((step) => step.stepId).filter((stepId) => stepId % 3 === 0));
    await until(() => seen.layers.length === 3 * sampled.length, "all observations");
    expect(seen.early).toBe(0);
    for (const stepId of sampled) {
      const layers = seen.layers.filter((layer) => layer.stepId === stepId).toSorted((a, b) => a.stage - b.stage);
      expect(layers.map((layer) => layer.nodeId)).toEqual(["w0", "w1", "w2"]);
      expect(layers.flatMap(unitsOf)).toEqual(Array.from({ length: FAKE.layers + 2 }, (_, unit) => unit));
      const step = must(
        seen.steps.find((record) => record.stepId === stepId),
        "step",
      );
      for (const layer of layers) {
        expect(layer).toMatchObject({ phase: step.phase, contextTokens: step.contextTokens, level: "layer" });
        expect(layer.requestIds).toEqual(step.requestIds);
        const times = [layer.arrivalNodeNs, layer.computeStartNodeNs, layer.computeEndNodeNs, layer.sentNodeNs];
        expect(times).toEqual(times.toSorted((a, b) => a - b));
      }
    }
    expect(coordinator.status().coordinator.observing).toMatchObject({
      observed: true,
      hooks: true,
      sample_every: 3,
      observations: seen.layers.length,
      observations_refused: 0,
      observations_dropped: 0,
      observer_failures: 0,
    });
  });

  it("looks into all steps of a request that asks for it, at its level, and into no others", async () => {
    const seen = new Recording();
    const { coordinator } = await startCluster(2, { observer: seen, sampleEvery: 0 });
    const [asked, other] = await Promise.all([
      collect(coordinator.generate({ prompt: "asked", maxTokens: 8, observe: "role" }, never)),
      collect(coordinator.generate({ prompt: "other", maxTokens: 8 }, never)),
    ]);
    expect(asked.tokens).toEqual(generateUndivided({ prompt: "asked", maxTokens: 8 }).tokens);
    expect(other.tokens).toHaveLength(8);
    const levels = new Map(seen.steps.map((step) => [step.requestIds[0], step.level]));
    expect([...levels.values()].toSorted()).toEqual(["role", "step"]);
    await until(() => seen.layers.length === 2 * 8, "all observations");
    expect(new Set(seen.layers.map((layer) => levels.get(layer.requestIds[0] ?? "")))).toEqual(new Set(["role"]));
  });

  it("refuses to look where nobody listens or the workers have no hooks", async () => {
    const request = { prompt: PROMPT, maxTokens: 1, observe: "layer" as const };
    const silent = await startCluster(1);
    expect((await errorOf(collect(silent.coordinator.generate(request, never)))).code).toBe("USAGE");
    const seen = new Recording();
    const blind = await startCluster(1, { observer: seen, hooks: false, sampleEvery: 1 });
    expect(blind.workers[0]?.assignments.at(-1)?.hooks).toBe(false);
    expect((await errorOf(collect(blind.coordinator.generate(request, never)))).code).toBe("USAGE");
    expect(seen.events.at(-1)).toMatchObject({ name: "request.refused", details: { code: "USAGE" } });
    await collect(blind.coordinator.generate({ prompt: PROMPT, maxTokens: 3 }, never));
    expect(seen.steps.every((step) => step.level === "step")).toBe(true);
    const bad = { ...request, observe: "atoms" as "layer" };
    expect((await errorOf(collect(blind.coordinator.generate(bad, never)))).code).toBe("USAGE");
  });

  it("puts prompts into the records only where the operator wants them", async () => {
    const seen = new Recording();
    const { coordinator } = await startCluster(1, { observer: seen, observePrompts: true });
    await collect(coordinator.generate({ prompt: "secret", maxTokens: 1 }, never));
    await collect(coordinator.generate({ prompt: [1, 2], maxTokens: 1 }, never));
    expect(seen.requests.flatMap((record) => (record.type === "start" ? [record.prompt] : []))).toEqual([
      "secret",
      null,
    ]);
  });

  it("tells plans, nodes and what happens to them, with the reason of each new plan", async () => {
    const seen = new Recording();
    const cluster = await startCluster(2, { observer: seen, recoveryWaitMs: 0 }, { faults: { computeMs: 3 } });
    const { coordinator } = cluster;
    expect(seen.plans).toMatchObject([
      { epoch: coordinator.epoch, split: "0:3,3:6", stages: [{ nodeId: "w0" }, { nodeId: "w1", units: "3:6" }] },
    ]);
    expect(seen.eventNames).toEqual(expect.arrayContaining(["worker.joined", "stage.ready", "cluster.ready"]));
    const running = errorOf(collect(coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, never)));
    await until(() => seen.steps.length > 8, "some steps");
    await cluster.workers[1]?.kill();
    expect((await running).code).toBe("PEER_DEAD");
    expect(seen.requests.at(-1)).toMatchObject({ type: "end", errorCode: "PEER_DEAD", finishReason: null });
    await cluster.addWorker("spare");
    await until(() => seen.plans.length === 2, "another plan");
    await cluster.ready();
    expect(seen.eventNames).toEqual(expect.arrayContaining(["worker.lost", "plan.broken", "cluster.waiting"]));
    expect(seen.events.find((event) => event.name === "worker.lost")).toMatchObject({
      severity: "error",
      nodeId: "w1",
    });
    expect(must(seen.plans[1], "plan").reason).toContain("w1");
    const last = new Map(seen.nodes.map((node) => [node.nodeId, node]));
    expect(last.get("w1")).toMatchObject({ state: "lost", units: null });
    expect(last.get("spare")).toMatchObject({ state: "ready", units: "3:6", name: "name-spare" });
    expect(must(last.get("spare"), "node").weightsBytes).toBeGreaterThan(0);
  });

  it("estimates the clocks of the nodes: here they are one clock, within the uncertainty", async () => {
    const seen = new Recording();
    const { coordinator } = await startCluster(2, { observer: seen });
    await until(() => seen.links.length >= 8, "first pings");
    for (const link of seen.links) {
      expect(link.from).toBe("coordinator");
      expect(Math.abs(must(link.clockOffsetNs, "offset"))).toBeLessThanOrEqual(must(link.clockUncertaintyNs, "doubt"));
    }
    for (const node of coordinator.status().nodes) {
      expect(Math.abs(Number(node.clock_offset_ms))).toBeLessThanOrEqual(Number(node.clock_uncertainty_ms));
      expect(Number(node.rtt_ms)).toBeGreaterThan(0);
    }
  });
});

describe("observers and workers that do harm", () => {
  it("serves on when an observer throws at everything, counts it, and tells the others", async () => {
    const seen = new Recording();
    const boom = (): never => {
      throw new Error("boom");
    };
    const hostile: ClusterObserver = { onRequest: boom, onStep: boom, onLayer: boom, onNode: boom, onEvent: boom };
    const observer = combineObservers(hostile, seen);
    const { coordinator } = await startCluster(2, { observer, sampleEvery: 1 });
    const request = { prompt: PROMPT, maxTokens: 5 };
    expect((await collect(coordinator.generate(request, never))).tokens).toEqual(generateUndivided(request).tokens);
    expect(seen.steps).toHaveLength(10);
    expect(observer.failures).toBeGreaterThan(seen.steps.length);
  });

  it("keeps its workers and its results when an observer blocks the coordinator again and again", async () => {
    const block = (): void => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 30);
    const slow: ClusterObserver = { onStep: block, onLayer: block, onRequest: block };
    const { coordinator } = await startCluster(2, { observer: slow, sampleEvery: 1, leaseMs: 600 });
    const request = { prompt: PROMPT, maxTokens: 10 };
    expect((await collect(coordinator.generate(request, never))).tokens).toEqual(generateUndivided(request).tokens);
    expect(coordinator.status().health.status).toBe("ready");
  });

  it.each<[string, (observation: Observation) => Observation]>([
    ["of a step that never was", (seen) => ({ ...seen, stepId: 999_999n })],
    ["of another epoch", (seen) => ({ ...seen, epoch: seen.epoch + 1n })],
    ["of another worker's stage", (seen) => ({ ...seen, stage: 1 - seen.stage })],
    ["of a stage that does not exist", (seen) => ({ ...seen, stage: 4_000_000_000 })],
    ["at another level", (seen) => ({ ...seen, level: 3 })],
    ["at a level that does not exist", (seen) => ({ ...seen, level: 0 })],
    ["with columns of different lengths", (seen) => ({ ...seen, segmentUnit: [...seen.segmentUnit, 1] })],
    ["with a role that does not exist", (seen) => ({ ...seen, roles: ["../../etc/passwd"] })],
    ["with a role beyond its table", (seen) => ({ ...seen, segmentRole: seen.segmentRole.map(() => 9) })],
    ["with a unit of another stage", (seen) => ({ ...seen, segmentUnit: seen.segmentUnit.map(() => 77) })],
    ["with a time above 2^53", (seen) => ({ ...seen, segmentStartNs: seen.segmentStartNs.map(() => 2n ** 60n) })],
    ["with a clock that runs backwards", (seen) => ({ ...seen, sentNs: seen.arrivalNs - 1n })],
    ["with more rows than the step", (seen) => ({ ...seen, rows: 4_000_000_000 })],
  ])("believes nothing of an observation %s, and counts it", async (_what, onObservation) => {
    const seen = new Recording();
    const { coordinator } = await startCluster(2, { observer: seen, sampleEvery: 1 }, { onObservation });
    const request = { prompt: PROMPT, maxTokens: 4 };
    expect((await collect(coordinator.generate(request, never))).tokens).toEqual(generateUndivided(request).tokens);
    const refused = (): number => coordinator.status().coordinator.observing.observations_refused;
    await until(() => refused() === 2 * seen.steps.length, "all refused");
    expect(seen.layers).toEqual([]);
    expect(seen.events.find((event) => event.name === "observations.refused")).toMatchObject({ severity: "warning" });
    expect(coordinator.status().health.status).toBe("ready");
  });

  it("takes an observation of each stage and step once, however often it is told", async () => {
    const seen = new Recording();
    let told: Observation | undefined;
    // Every observation but the first repeats the first.
    const onObservation = (observation: Observation): Observation => (told ??= observation);
    const { coordinator } = await startCluster(1, { observer: seen, sampleEvery: 1 }, { onObservation });
    await collect(coordinator.generate({ prompt: PROMPT, maxTokens: 4 }, never));
    const observing = () => coordinator.status().coordinator.observing;
    await until(() => observing().observations_refused === seen.steps.length - 1, "others refused");
    expect(seen.layers).toHaveLength(1);
    expect(observing().observations).toBe(1);
  });
});

describe("over the coordinator's own service", () => {
  it("takes the level from the request, and refuses one that does not exist", async () => {
    const seen = new Recording();
    const { coordinator } = await startCluster(2, { observer: seen, sampleEvery: 0 });
    const client = createClient(CoordinatorService, coordinator.address);
    closers.push(async () => client.close());
    for await (const _event of client.rpc.generate({ prompt: PROMPT, maxTokens: 3, observe: "node" }));
    expect(seen.steps.every((step) => step.level === "node")).toBe(true);
    const refused = async (): Promise<void> => {
      for await (const _event of client.rpc.generate({ prompt: PROMPT, maxTokens: 3, observe: "atoms" }));
    };
    expect((await errorOf(refused())).code).toBe("USAGE");
  });

  it("hands out traces in pieces, and says so where it has none", async () => {
    const big = { schema: "noodle.trace.v1", filler: "x".repeat(2_500_000) };
    const known = "ab".repeat(16);
    const traces = { readTrace: (id: string) => (id === known ? big : null) };
    const { coordinator } = await startCluster(1, { traces });
    const client = createClient(CoordinatorService, coordinator.address);
    closers.push(async () => client.close());
    const read = async (hex: string): Promise<{ pieces: number; json: string }> => {
      const pieces: Uint8Array[] = [];
      for await (const { data } of client.rpc.readTrace({ sessionId: Buffer.from(hex, "hex") })) pieces.push(data);
      return { pieces: pieces.length, json: Buffer.concat(pieces).toString("utf8") };
    };
    const { pieces, json } = await read(known);
    expect(pieces).toBe(3);
    expect(JSON.parse(json)).toEqual(big);
    expect((await errorOf(read("cd".repeat(16)))).code).toBe("SESSION_NOT_FOUND");
    expect((await errorOf(read("cd"))).code).toBe("FRAME_INVALID");
    const none = await startCluster(1);
    expect((await errorOf((async () => none.coordinator.readTrace(known))())).code).toBe("USAGE");
  });
});
