import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Determinism } from "../../src/schedule/index.ts";
import type { GenerateRequest } from "../../src/cluster/coordinator/index.ts";
import { must, NoodleError } from "../../src/common/index.ts";
import { CutModel } from "../model/cut.ts";
import { collect, FakeCluster, type Generated } from "../integration/fake-cluster.ts";
import { createRealEngine } from "../integration/real-stage.ts";

/*
 * Small random models on the real engine, two stages behind real gRPC, all in this process. One of them computes with two
 * threads, and more than 256 tokens: there attention splits a lone row.
 */

const VOCAB = 512;

const tokenizer = {
  vocabSize: VOCAB,
  tokenize: (text: string) => Int32Array.from(Buffer.from(text)),
  pieceBytes: (id: number) => Uint8Array.of(0x20 + (id % 95)),
  isEndOfGeneration: () => false,
};

/** A generator of whole numbers from a seed. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function makeRequest(next: (below: number) => number, promptTokens: number, maxTokens: number): GenerateRequest {
  const prompt = Array.from({ length: promptTokens }, () => 5 + next(VOCAB - 5));
  const sampling = { temperature: 0.9, topK: 40, topP: 1, minP: 0, repeatPenalty: 1.1, seed: next(1000) };
  return { prompt, maxTokens, sampling, wantKvHashes: true, cachePrompt: false };
}

/** Runs until it ends, or goes away behind so many tokens; null for one that went away. */
async function runAndLeave(
  { coordinator }: FakeCluster,
  request: GenerateRequest,
  leaveAfter: number | null,
): Promise<Generated | null> {
  const controller = new AbortController();
  let tokens = 0;
  const events = async function* () {
    for await (const event of coordinator.generate(request, controller.signal)) {
      if (event.type === "token") tokens += 1;
      if (tokens === leaveAfter) controller.abort();
      yield event;
    }
  };
  try {
    return await collect(events());
  } catch (error) {
    if (NoodleError.from(error).code === "INTERRUPTED") return null;
    throw error;
  }
}

describe.each([
  { type: "q4_0", threads: 2, promptTokens: 245 },
  { type: "q4_k_m", threads: 1, promptTokens: 90 },
  { type: "f16", threads: 1, promptTokens: 90 },
])("a model of $type", ({ type, threads, promptTokens }) => {
  let model: CutModel;
  let cluster: FakeCluster;
  beforeAll(async () => {
    const shape = { architecture: "llama", layers: 2, embd: 256, heads: 4, kvHeads: 2, ff: 512, vocab: VOCAB };
    model = await CutModel.fromDummy({ ...shape, type, seed: 7, contextLength: 512 });
  });
  afterEach(() => cluster.close());
  afterAll(() => model.remove());

  async function start(determinism: Determinism): Promise<void> {
    cluster = await FakeCluster.start({
      expect: 2,
      model: model.path,
      tokenizer,
      split: "0:2,2:4",
      contextTokens: 512,
      parallel: 8,
      threads,
      determinism,
      ...(determinism === "strict" ? {} : { prefillRows: 80 }),
    });
    for (const id of ["a", "b"]) await cluster.addWorker(id, { engine: createRealEngine(model) });
    await cluster.ready(60_000);
  }

  /** Seven that come at random, and some of which leave early. */
  async function joinOthers(next: (below: number) => number): Promise<readonly (Generated | null)[]> {
    const running: Promise<Generated | null>[] = [];
    for (let index = 0; index < 7; index++) {
      await new Promise((resolve) => setTimeout(resolve, next(40)));
      const request = makeRequest(next, 3 + next(60), 6 + next(20));
      running.push(runAndLeave(cluster, request, next(3) === 0 ? 1 + next(6) : null));
    }
    return await Promise.all(running);
  }

  it("computes in strict the same logits alone and among seven others that come and go", async () => {
    await start("strict");
    const next = seeded(20261123);
    // Its tokens lie on both sides of the context from which attention splits a lone row.
    const request = { ...makeRequest(next, promptTokens, 24), wantLogits: true };
    const alone = must(await runAndLeave(cluster, request, null), "result");
    const [among] = await Promise.all([runAndLeave(cluster, request, null), joinOthers(next)]);
    expect(among?.tokens).toEqual(alone.tokens);
    expect(among?.done.kv).toEqual(alone.done.kv);
    expect(among?.logits).toEqual(alone.logits);
    const { decode, decode_rows: rows } = cluster.coordinator.status().serving.batches;
    expect(rows).toBeGreaterThan(decode);
  });

  it("reuses in strict what was computed in the same classes, and says the same with it as without", async () => {
    await start("strict");
    const next = seeded(7);
    const turn = { ...makeRequest(next, promptTokens, 12), client: "me", cachePrompt: true };
    const [first] = await Promise.all([runAndLeave(cluster, turn, null), joinOthers(next)]);
    const said = must(first, "result").tokens;
    const prompt = [...(turn.prompt as readonly number[]), ...said, ...Array.from({ length: 40 }, () => 5 + next(400))];
    const request = { ...turn, prompt, wantLogits: true };
    const [reused] = await Promise.all([runAndLeave(cluster, request, null), joinOthers(next)]);
    const afresh = must(await runAndLeave(cluster, { ...request, cachePrompt: false }, null), "result");
    expect(must(reused, "result").done.cachedTokens).toBeGreaterThanOrEqual(promptTokens - 32);
    expect(afresh.done.cachedTokens).toBe(0);
    expect(reused?.tokens).toEqual(afresh.tokens);
    expect(reused?.done.kv).toEqual(afresh.done.kv);
    expect(reused?.logits).toEqual(afresh.logits);
  });

  it("gives in recorded notes by which each is computed again bit for bit, alone", async () => {
    await start("recorded");
    const next = seeded(42);
    const begin = { ...makeRequest(next, promptTokens - 40, 10), client: "me", cachePrompt: true };
    const { tokens: begun } = must(await runAndLeave(cluster, begin, null), "result");
    const more = [...(begin.prompt as readonly number[]), ...begun, ...Array.from({ length: 20 }, () => 5 + next(400))];
    // The last goes on with what the first has left there.
    const requests = [makeRequest(next, promptTokens, 20), makeRequest(next, 1, 30), { ...begin, prompt: more }];
    const [results] = await Promise.all([
      Promise.all(requests.map((request) => runAndLeave(cluster, request, null))),
      joinOthers(next),
    ]);
    expect(results[2]?.done.cachedTokens).toBeGreaterThan(0);
    expect(
      results.some((result) => result?.done.notes.some(({ perCall, callRows }) => perCall === 1 && callRows > 1)),
    ).toBe(true);
    for (const [index, request] of requests.entries()) {
      const { tokens, done } = must(results[index], "result");
      const again = await runAndLeave(cluster, { ...request, arrange: done.notes }, null);
      expect(again?.tokens).toEqual(tokens);
      expect(again?.done.kv).toEqual(done.kv);
    }
  });
});
