import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import type { GenerateEvent } from "../../src/cluster/coordinator/index.ts";
import { NoodleError } from "../../src/common/index.ts";
import { createClient } from "../../src/net/index.ts";
import { CoordinatorService, crc32c, TransferService } from "../../src/protocol/index.ts";
import {
  collect,
  FAKE,
  FAKE_MODEL_BYTES,
  FakeCluster,
  fakeModel,
  fakeTokenizer,
  type FakeWorkerOptions,
  generateUndivided,
} from "./fake-cluster.ts";

const never = new AbortController().signal;
const PROMPT = "the quick brown fox jumps over the lazy dog";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startEmpty(options: Parameters<typeof FakeCluster.start>[0]): Promise<FakeCluster> {
  const cluster = await FakeCluster.start(options);
  closers.push(() => cluster.close());
  return cluster;
}

async function startCluster(
  workers: number,
  options: Partial<Parameters<typeof FakeCluster.start>[0]> = {},
  workerOptions: Partial<FakeWorkerOptions> = {},
): Promise<FakeCluster> {
  const cluster = await startEmpty({ expect: workers, ...options });
  await cluster.addWorkers(workers, workerOptions);
  await cluster.ready();
  return cluster;
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return (await errorOf(promise)).code;
}

async function errorOf(promise: Promise<unknown>): Promise<NoodleError> {
  try {
    await promise;
  } catch (error) {
    return NoodleError.from(error);
  }
  throw new Error("nothing was thrown");
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/** Waits, bounded, until the cluster's own report says so. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`never: ${what}`);
}

/** Reads until the first token and leaves the rest to the caller. */
async function startGeneration(events: AsyncIterable<GenerateEvent>): Promise<AsyncIterator<GenerateEvent>> {
  const iterator = events[Symbol.asyncIterator]();
  for (;;) {
    const { value, done } = await iterator.next();
    if (done === true) throw new Error("the generation ended before its first token");
    if (value.type === "token") return iterator;
  }
}

async function drain(iterator: AsyncIterator<GenerateEvent>): Promise<void> {
  while ((await iterator.next()).done !== true);
}

describe("generation through fake stages over gRPC", () => {
  it.each([1, 2, 3, 6])("%i stages say what the undivided stage says, with the same logits and KV", async (stages) => {
    const { coordinator } = await startCluster(stages);
    const request = { prompt: PROMPT, maxTokens: 20, wantLogits: true, wantKvHashes: true };
    const { tokens, logits, done } = await collect(coordinator.generate(request, never));
    const reference = generateUndivided(request);
    expect(tokens).toEqual(reference.tokens);
    expect(logits.every((row) => row?.length === FAKE.nVocab)).toBe(true);
    expect(done.finishReason).toBe("length");
    expect(done.stepRows).toEqual([8, 8, 8, 8, 8, 3, ...Array.from({ length: 19 }, () => 1)]);
    const expected = reference.stage
      .readKv(0)
      .map((layer) => [layer.block, sha256(layer.kBytes), sha256(layer.vBytes)]);
    expect(done.kv.map((layer) => [layer.block, toHex(layer.kSha256), toHex(layer.vSha256)])).toEqual(expected);
    expect(done.stages).toHaveLength(stages);
    expect(done.stages.every((stage) => stage.hopMsP50 !== null && stage.weightsBytes > 0)).toBe(true);
  });

  it("runs as many sessions at once as there are slots, each as if it were alone, and refuses one more", async () => {
    const { coordinator } = await startCluster(3, { queue: 0 });
    const requests = ["one", "another prompt that is longer", "three", PROMPT].map((prompt, index) => ({
      prompt,
      maxTokens: 12 + index,
      sampling: { temperature: 0.8, topK: 0, topP: 1, minP: 0, repeatPenalty: 1.1, seed: index },
    }));
    const running = requests.map((request) => coordinator.generate(request, never)[Symbol.asyncIterator]());
    for (const iterator of running) expect((await iterator.next()).value).toMatchObject({ type: "started" });
    expect(await codeOf(collect(coordinator.generate({ prompt: "x", maxTokens: 1 }, never)))).toBe("QUEUE_FULL");
    const results = await Promise.all(running.map((iterator) => collect({ [Symbol.asyncIterator]: () => iterator })));
    for (const [index, request] of requests.entries()) {
      expect(results[index]?.tokens).toEqual(generateUndivided(request).tokens);
    }
    expect(coordinator.status().sessions).toEqual([]);
  });

  it("ends at an end-of-generation token, or goes on where that is asked for", async () => {
    const request = { prompt: PROMPT, maxTokens: 10 };
    const { tokens } = generateUndivided(request);
    const end = tokens[4] ?? -1;
    const { coordinator } = await startCluster(2, { tokenizer: fakeTokenizer(end) });
    const stopped = await collect(coordinator.generate(request, never));
    expect(stopped.done.finishReason).toBe("stop");
    expect(stopped.tokens).toEqual(tokens.slice(0, tokens.indexOf(end) + 1));
    const ignored = await collect(coordinator.generate({ ...request, ignoreEos: true }, never));
    expect(ignored.tokens).toEqual(tokens);
  });

  it("runs the prompt only when no token is asked for", async () => {
    const { coordinator } = await startCluster(2);
    const { tokens, done } = await collect(coordinator.generate({ prompt: PROMPT, maxTokens: 0 }, never));
    expect(tokens).toEqual([]);
    expect(done).toMatchObject({ finishReason: "length", decodeTokensPerSec: 0 });
    expect(done.ttftMs).toBeGreaterThan(0);
  });

  it("stops at the end of the context and refuses a prompt that fills it", async () => {
    const { coordinator } = await startCluster(2, { contextTokens: 32 });
    const prompt = Array.from({ length: 30 }, (_, i) => i);
    const { tokens, done } = await collect(coordinator.generate({ prompt, maxTokens: 100 }, never));
    expect(done.finishReason).toBe("length");
    expect(tokens).toEqual(generateUndivided({ prompt, maxTokens: 2 }).tokens);
    const long = errorOf(collect(coordinator.generate({ prompt: [...prompt, 1, 2], maxTokens: 1 }, never)));
    expect(await long).toMatchObject({ code: "CONTEXT_EXCEEDED", details: { promptTokens: 32, limitTokens: 31 } });
  });

  it.each([
    ["an empty text", { prompt: "", maxTokens: 1 }, "PROMPT_EMPTY"],
    ["no tokens", { prompt: [], maxTokens: 1 }, "PROMPT_EMPTY"],
    ["a token beyond the vocabulary", { prompt: [FAKE.nVocab], maxTokens: 1 }, "USAGE"],
    ["a negative number of tokens", { prompt: "x", maxTokens: -1 }, "USAGE"],
    ["steps beyond the stages' limit", { prompt: "x", maxTokens: 1, prefillRows: 513 }, "USAGE"],
  ])("refuses %s", async (_what, request, code) => {
    const { coordinator } = await startEmpty({ expect: 1 });
    expect(await codeOf((async () => collect(coordinator.generate(request, never)))())).toBe(code);
  });

  it("serves clients over its own gRPC service, and frees the session of one that goes away", async () => {
    const cluster = await startCluster(2, {}, { faults: { computeMs: 3 } });
    const client = createClient(CoordinatorService, cluster.coordinator.address);
    closers.push(async () => client.close());
    const tokens: number[] = [];
    let reason = "";
    for await (const { message } of client.rpc.generate({ prompt: PROMPT, maxTokens: 5 })) {
      if (message.case === "token") tokens.push(message.value.tokenId);
      if (message.case === "done") reason = message.value.finishReason;
    }
    expect(tokens).toEqual(generateUndivided({ prompt: PROMPT, maxTokens: 5 }).tokens);
    expect(reason).toBe("length");
    for await (const { message } of client.rpc.generate({ prompt: PROMPT, maxTokens: 80 })) {
      if (message.case === "token") break;
    }
    await until(() => cluster.coordinator.status().sessions.length === 0, "session freed at the coordinator");
    await until(() => cluster.workers.every((worker) => worker.sessions === 0), "session freed at the workers");
    expect(await codeOf(collectRemote(client.rpc.generate({ prompt: "", maxTokens: 1 })))).toBe("PROMPT_EMPTY");
  });

  it("gives a cancelled session's slot to the next one", async () => {
    const cluster = await startCluster(2, { parallel: 1 }, { faults: { computeMs: 3 } });
    const controller = new AbortController();
    const running = await startGeneration(
      cluster.coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, controller.signal),
    );
    controller.abort();
    expect(await codeOf(drain(running))).toBe("INTERRUPTED");
    expect(cluster.workers.map((worker) => worker.sessions)).toEqual([0, 0]);
    const request = { prompt: "again", maxTokens: 3 };
    const { tokens } = await collect(cluster.coordinator.generate(request, never));
    expect(tokens).toEqual(generateUndivided(request).tokens);
  });
});

async function collectRemote(events: AsyncIterable<unknown>): Promise<void> {
  for await (const _event of events);
}

describe("membership", () => {
  it("refuses workers of another protocol version and of another engine build", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const old = await cluster.addWorker("old", { protocolVersion: 99 });
    expect((await old.refused).message).toBe("PROTOCOL_MISMATCH");
    await cluster.addWorker("good");
    await cluster.ready();
    const other = await cluster.addWorker("other", { engineBuild: "another" });
    expect((await other.refused).message).toBe("BUILD_MISMATCH");
    expect(cluster.coordinator.status().nodes.map((node) => node.id)).toEqual(["good"]);
  });

  it("assigns in the order of arrival, along the chain, and keeps one worker more as standby", async () => {
    const cluster = await startCluster(2, { split: "0:2,2:6", threads: 1 });
    const extra = await cluster.addWorker("extra");
    await until(() => cluster.coordinator.status().nodes.length === 3, "third worker registered");
    const { nodes, stages, health } = cluster.coordinator.status();
    expect(nodes.map((node) => [node.id, node.state, node.units])).toEqual([
      ["w0", "ready", "0:2"],
      ["w1", "ready", "2:6"],
      ["extra", "standby", null],
    ]);
    expect(stages.map((stage) => [stage.node, stage.state])).toEqual([
      ["w0", "ready"],
      ["w1", "ready"],
    ]);
    expect(health.status).toBe("ready");
    expect(extra.assignments).toEqual([]);
    const [first, second] = cluster.workers.map((worker) => worker.assignments.at(-1));
    expect(first).toMatchObject({
      stage: 0,
      stageCount: 2,
      nextNodeId: "w1",
      nextAddress: nodes[1]?.address,
      threads: 1,
    });
    expect(second).toMatchObject({ stage: 1, nextAddress: "", firstUnit: 2, endUnit: 6 });
  });

  it("reports a stage that cannot be loaded with the worker's own error", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const loadError = new NoodleError("MEMORY_INSUFFICIENT", "the stage needs 9 bytes, 4 are free (--memory)");
    await cluster.addWorker("small", { loadError });
    expect(await errorOf(cluster.ready())).toMatchObject({ code: "MEMORY_INSUFFICIENT", details: { nodeId: "small" } });
    expect(cluster.coordinator.status().health).toMatchObject({ status: "failed", error: { node: "small" } });
  });

  it("gives a stage that failed to another worker, and takes it from the first", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const small = await cluster.addWorker("small", { loadError: new NoodleError("MEMORY_INSUFFICIENT", "no room") });
    expect(await codeOf(cluster.ready())).toBe("MEMORY_INSUFFICIENT");
    await cluster.addWorker("big");
    await until(() => cluster.coordinator.status().health.status === "ready", "second worker serves");
    await until(() => small.retired.length > 0, "first worker told to let go");
    expect(small.retired).toEqual(small.assignments.map((assign) => assign.epoch));
    expect(cluster.coordinator.status().nodes.map((node) => [node.id, node.state])).toEqual([
      ["small", "standby"],
      ["big", "ready"],
    ]);
  });

  it("does not let a worker serve that computes something else than its predecessor", async () => {
    const cluster = await startCluster(1);
    await cluster.workers[0]?.kill();
    await cluster.addWorker("odd", { canary: "0".repeat(64) });
    await until(() => cluster.coordinator.status().health.status === "failed", "mismatch noticed");
    expect(cluster.coordinator.status().health.error).toMatchObject({ code: "CANARY_MISMATCH", node: "odd" });
  });

  it("says what is missing when the workers do not come", async () => {
    const cluster = await startEmpty({ expect: 2 });
    await cluster.addWorker("lonely");
    const error = await errorOf(cluster.ready(300));
    expect(error.code).toBe("TIMED_OUT");
    expect(await codeOf(collect(cluster.coordinator.generate({ prompt: "x", maxTokens: 1 }, never)))).toBe(
      "CLUSTER_NOT_READY",
    );
  });
});

describe("faults", () => {
  it("ends a session with an error that names the lost worker where it may not wait, and serves again", async () => {
    const cluster = await startCluster(3, { recoveryWaitMs: 0 }, { faults: { computeMs: 3 } });
    const { coordinator } = cluster;
    for (const victim of [1, 0, 2]) {
      const lost = cluster.workers[victim];
      const running = await startGeneration(coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, never));
      await lost?.kill();
      expect(await errorOf(drain(running))).toMatchObject({ code: "PEER_DEAD", details: { nodeId: lost?.id } });
      expect(coordinator.status().sessions).toEqual([]);
      cluster.workers[victim] = await cluster.addWorker(`again${victim}`);
      await cluster.ready();
      const request = { prompt: "after", maxTokens: 4 };
      const { tokens } = await collect(coordinator.generate(request, never));
      expect(tokens).toEqual(generateUndivided(request).tokens);
    }
  });

  it("lets a standby take the place of a lost worker under a higher epoch", async () => {
    const cluster = await startCluster(2);
    await cluster.addWorker("spare");
    await until(() => cluster.coordinator.status().nodes.length === 3, "standby registered");
    const before = cluster.coordinator.epoch;
    await cluster.workers[0]?.kill();
    await until(() => cluster.coordinator.epoch > before, "new plan");
    await cluster.ready();
    const { nodes } = cluster.coordinator.status();
    expect(nodes.map((node) => [node.id, node.state])).toEqual([
      ["w0", "lost"],
      ["w1", "ready"],
      ["spare", "ready"],
    ]);
    const request = { prompt: PROMPT, maxTokens: 4 };
    const { tokens } = await collect(cluster.coordinator.generate(request, never));
    expect(tokens).toEqual(generateUndivided(request).tokens);
  });

  it("gives the cause of an engine's death, and uses the restarted engine under a higher epoch", async () => {
    const cluster = await startCluster(3, { recoveryWaitMs: 0 }, { faults: { computeMs: 3 } });
    const { coordinator } = cluster;
    const before = coordinator.epoch;
    const running = await startGeneration(coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, never));
    const restarted = cluster.workers[1]?.restartHost();
    expect(await errorOf(drain(running))).toMatchObject({ code: "ENGINE_ABORTED", details: { nodeId: "w1" } });
    await restarted;
    await until(() => coordinator.epoch > before, "new plan");
    await cluster.ready();
    const request = { prompt: PROMPT, maxTokens: 6 };
    expect((await collect(coordinator.generate(request, never))).tokens).toEqual(generateUndivided(request).tokens);
  });

  it("loses a worker that keeps its connection and says nothing for a lease", async () => {
    const cluster = await startCluster(2, { leaseMs: 600, recoveryWaitMs: 0 }, { faults: { computeMs: 3 } });
    const running = await startGeneration(cluster.coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, never));
    cluster.workers[1]?.fallSilent();
    const failed = errorOf(drain(running));
    await until(() => cluster.coordinator.status().nodes[1]?.state === "lost", "lease over");
    // The generation may have been quicker than the lease; the plan is broken either way.
    expect(cluster.coordinator.status().health).toMatchObject({
      status: "waiting",
      error: { code: "PEER_STALLED", node: "w1" },
    });
    await failed.catch(() => undefined);
  });

  it("ends only the session whose step fails", async () => {
    const bad = 13;
    const cluster = await startCluster(2, {}, { faults: { nonFiniteOnToken: bad } });
    const prompt = [1, 2, 3];
    const other = { prompt, maxTokens: 8 };
    const [failed, fine] = await Promise.all([
      errorOf(collect(cluster.coordinator.generate({ prompt: [5, bad], maxTokens: 3 }, never))),
      collect(cluster.coordinator.generate(other, never)),
    ]);
    expect(failed).toMatchObject({ code: "NON_FINITE", details: { nodeId: "w0" } });
    expect(fine.tokens).toEqual(generateUndivided(other).tokens);
    expect(cluster.workers.map((worker) => worker.sessions)).toEqual([0, 0]);
  });

  it("ends running sessions when it closes", async () => {
    const cluster = await startCluster(2, {}, { faults: { computeMs: 3 } });
    const running = await startGeneration(cluster.coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, never));
    const failed = codeOf(drain(running));
    await cluster.coordinator.close();
    expect(await failed).toBe("INTERRUPTED");
    expect(cluster.workers.map((worker) => worker.sessions)).toEqual([0, 0]);
  });

  it("does not start on a port that is in use, and names the port", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const grpcPort = Number(cluster.coordinator.address.split(":")[1]);
    const error = await errorOf(startEmpty({ expect: 1, grpcPort }));
    expect(error).toMatchObject({ code: "PORT_IN_USE", details: { port: grpcPort } });
  });

  it("refuses a split for another number of workers before it listens", async () => {
    expect(await codeOf(startEmpty({ expect: 3, split: "0:2,2:6" }))).toBe("SPLIT_INVALID");
  });
});

describe("transfer", () => {
  it("streams the asked ranges with checksums, in pieces of at most 1 MiB", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const client = createClient(TransferService, cluster.coordinator.address);
    closers.push(async () => client.close());
    const ranges = [
      { shard: 0, offset: 5n, length: 2_500_000n },
      { shard: 0, offset: 2_999_990n, length: 11n },
    ];
    const got = ranges.map(({ length }) => Buffer.alloc(Number(length)));
    const { sourceSha256 } = fakeModel().identity;
    for await (const chunk of client.rpc.fetchRanges({ sourceSha256, ranges })) {
      expect(chunk.data.length).toBeLessThanOrEqual(1024 * 1024);
      expect(crc32c(chunk.data)).toBe(chunk.crc32c);
      got[chunk.range]?.set(chunk.data, Number(chunk.offset) - Number(ranges[chunk.range]?.offset));
    }
    expect(got[0]?.equals(FAKE_MODEL_BYTES.subarray(5, 2_500_005))).toBe(true);
    expect(got[1]?.equals(FAKE_MODEL_BYTES.subarray(2_999_990))).toBe(true);
  });

  it("serves more readers than it reads for at once", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const { sourceSha256 } = fakeModel().identity;
    const ranges = [{ shard: 0, offset: 0n, length: 300_000n }];
    const fetchAll = async (): Promise<number> => {
      const client = createClient(TransferService, cluster.coordinator.address);
      closers.push(async () => client.close());
      let bytes = 0;
      for await (const { data } of client.rpc.fetchRanges({ sourceSha256, ranges })) bytes += data.length;
      return bytes;
    };
    const counts = await Promise.all(Array.from({ length: 20 }, fetchAll));
    expect(counts.every((bytes) => bytes === 300_000)).toBe(true);
  });

  it("refuses ranges beyond the file and another model's bytes", async () => {
    const cluster = await startEmpty({ expect: 1 });
    const client = createClient(TransferService, cluster.coordinator.address);
    closers.push(async () => client.close());
    const { sourceSha256 } = fakeModel().identity;
    const beyond = [{ shard: 0, offset: 2_999_990n, length: 12n }];
    expect(await codeOf(collectRemote(client.rpc.fetchRanges({ sourceSha256, ranges: beyond })))).toBe("FRAME_INVALID");
    const other = { sourceSha256: new Uint8Array(32), ranges: [] };
    expect(await codeOf(collectRemote(client.rpc.fetchRanges(other)))).toBe("STAGE_CORRUPT");
  });
});
