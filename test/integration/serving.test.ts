import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { collectGeneration } from "../../src/cli/generation.ts";
import { RemoteCluster } from "../../src/cli/remote-cluster.ts";
import type { GenerateEvent, GenerateRequest } from "../../src/cluster/coordinator/index.ts";
import { must, NoodleError } from "../../src/common/index.ts";
import { GREEDY } from "../../src/engine/index.ts";
import { createClient } from "../../src/net/index.ts";
import { CoordinatorService, type GenerateDone, type GenerateRequestSchema } from "../../src/protocol/index.ts";
import type { ClusterObserver } from "../../src/observe/index.ts";
import {
  collect,
  FakeCluster,
  fakeTokenizer,
  type FakeWorkerOptions,
  generateUndivided,
  openFakeStage,
} from "./fake-cluster.ts";

const never = new AbortController().signal;
const PROMPT = "the quick brown fox jumps over the lazy dog";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function startCluster(
  workers: number,
  options: Partial<Parameters<typeof FakeCluster.start>[0]> = {},
  workerOptions: Partial<FakeWorkerOptions> = {},
): Promise<FakeCluster> {
  const cluster = await FakeCluster.start({ expect: workers, parallel: 8, ...options });
  closers.push(() => cluster.close());
  await cluster.addWorkers(workers, workerOptions);
  await cluster.ready();
  return cluster;
}

async function errorOf(promise: Promise<unknown>): Promise<NoodleError> {
  try {
    await promise;
  } catch (error) {
    return NoodleError.from(error);
  }
  throw new Error("nothing was thrown");
}

/** Waits, bounded, until the cluster's own report says so. */
async function until(condition: () => boolean, what: string): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`never: ${what}`);
}

/** All slots are free, here and on every stage. */
async function untilFree({ coordinator, workers }: FakeCluster): Promise<void> {
  await until(() => coordinator.status().serving.running === 0, "slots free at the coordinator");
  await until(() => workers.every((worker) => worker.sessions === 0), "slots free on the stages");
}

/** A generation in the background, with what it has said so far. */
class Background {
  readonly events: GenerateEvent[] = [];
  readonly result: Promise<Awaited<ReturnType<typeof collect>>>;
  readonly #controller = new AbortController();

  constructor({ coordinator }: FakeCluster, request: GenerateRequest) {
    const events = this.#note(coordinator.generate(request, this.#controller.signal));
    this.result = collect(events);
    this.result.catch(() => undefined);
  }

  get tokens(): number {
    return this.events.filter(({ type }) => type === "token").length;
  }

  cancel(): void {
    this.#controller.abort();
  }

  async *#note(events: AsyncIterable<GenerateEvent>): AsyncGenerator<GenerateEvent> {
    for await (const event of events) {
      this.events.push(event);
      yield event;
    }
  }
}

/** A generator of whole numbers from a seed. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const sampling = (seed: number) => ({ ...GREEDY, temperature: 0.8, repeatPenalty: 1.1, seed });

describe("many streams", () => {
  it("say together what each says alone, and share micro-batches", async () => {
    const cluster = await startCluster(3, { decodeInFlight: 2 }, { faults: { computeMs: 1 } });
    const requests = Array.from({ length: 8 }, (_, index) => ({
      prompt: PROMPT.slice(0, 8 + 4 * index),
      maxTokens: 20 + index,
      sampling: sampling(index),
    }));
    const results = await Promise.all(requests.map((request) => collect(cluster.coordinator.generate(request, never))));
    for (const [index, request] of requests.entries()) {
      expect(results[index]?.tokens).toEqual(generateUndivided(request).tokens);
    }
    const { batches, running, queued } = cluster.coordinator.status().serving;
    expect(batches.decode_rows).toBeGreaterThan(1.25 * batches.decode);
    expect({ running, queued }).toEqual({ running: 0, queued: 0 });
  });

  it("come and go at random, and none disturbs another", async () => {
    const cluster = await startCluster(
      2,
      { parallel: 4, queue: 100, queuePerClient: 100 },
      { faults: { computeMs: 1 } },
    );
    const next = seeded(20261123);
    const started = Array.from({ length: 40 }, (_, index) => {
      const prompt = Array.from({ length: 1 + next(40) }, () => next(97));
      const request = { prompt, maxTokens: 1 + next(20), sampling: sampling(index), client: `c${next(3)}` };
      return { request, cancelAfter: next(3) === 0 ? next(6) : null };
    });
    const runs: { readonly running: Background; readonly request: GenerateRequest; readonly cancelled: boolean }[] = [];
    for (const { request, cancelAfter } of started) {
      const running = new Background(cluster, request);
      runs.push({ running, request, cancelled: cancelAfter !== null });
      if (cancelAfter !== null) {
        void until(() => running.tokens >= cancelAfter, "tokens to cancel behind")
          .catch(() => undefined)
          .finally(() => running.cancel());
      }
      await new Promise((resolve) => setTimeout(resolve, next(15)));
    }
    for (const { running, request, cancelled } of runs) {
      const outcome = await running.result.catch((error: unknown) => NoodleError.from(error));
      if (outcome instanceof NoodleError) {
        expect([outcome.code, cancelled]).toEqual(["INTERRUPTED", true]);
      } else {
        expect(outcome.tokens).toEqual(generateUndivided(request).tokens);
      }
    }
    await untilFree(cluster);
  });

  it("lose only the one whose row the engine cannot compute", async () => {
    const requests = Array.from({ length: 6 }, (_, index) => ({
      prompt: [index, 3, 5],
      maxTokens: 24,
      client: `${index}`,
    }));
    const said = requests.map((request) => generateUndivided(request).tokens.slice(0, -1));
    // A token that one of them says in the middle, and none of the others at all.
    const victim = said.findIndex((tokens, index) =>
      tokens.slice(3).some((token) => said.every((other, at) => at === index || !other.includes(token))),
    );
    const others = said.filter((_, index) => index !== victim);
    const bad = must(said[victim], "victim")
      .slice(3)
      .find((token) => others.every((other) => !other.includes(token)));
    const faults = { nonFiniteOnToken: must(bad, "token of one session alone"), computeMs: 1 };
    const cluster = await startCluster(2, {}, { faults });
    const outcomes = await Promise.all(
      requests.map((request) =>
        collect(cluster.coordinator.generate(request, never)).catch((error: unknown) => NoodleError.from(error)),
      ),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if (index === victim) expect(outcome).toMatchObject({ code: "NON_FINITE" });
      else expect(outcome).toMatchObject({ tokens: generateUndivided(must(requests[index], "request")).tokens });
    }
    await untilFree(cluster);
  });
});

describe("cancellation", () => {
  it.each([
    ["before it is read", 0],
    ["while the prompt is read", 1],
    ["while it decodes", 2],
  ])("frees the slot on every stage, %s", async (_when, point) => {
    const cluster = await startCluster(2, { prefillRows: 4 }, { faults: { computeMs: 5 } });
    const running = new Background(cluster, { prompt: PROMPT, maxTokens: 80 });
    if (point === 1) await until(() => running.events.length === 1, "started");
    if (point === 2) await until(() => running.tokens > 2, "tokens");
    running.cancel();
    expect((await errorOf(running.result)).code).toBe("INTERRUPTED");
    expect(cluster.workers.map((worker) => worker.sessions)).toEqual([0, 0]);
    expect(cluster.coordinator.status().serving.running).toBe(0);
  });

  it("frees the slot although nobody reads on", async () => {
    const cluster = await startCluster(2, {}, { faults: { computeMs: 3 } });
    const controller = new AbortController();
    const iterator = cluster.coordinator.generate({ prompt: PROMPT, maxTokens: 80 }, controller.signal);
    await iterator.next();
    controller.abort();
    await untilFree(cluster);
    expect((await iterator.return(undefined)).done).toBe(true);
  });

  it("frees the slot within a second while a step is under way, and while it waits for its reader", async () => {
    const cluster = await startCluster(2, {}, { faults: { computeMs: 150 } });
    const running = new Background(cluster, { prompt: PROMPT, maxTokens: 80 });
    await until(() => running.tokens > 0, "tokens");
    // Behind a token the next step leaves at once, and takes its time on each stage.
    running.cancel();
    const cancelledMs = performance.now();
    await untilFree(cluster);
    expect(performance.now() - cancelledMs).toBeLessThan(1000);
    const slow = await startCluster(1);
    const controller = new AbortController();
    const idle = slow.coordinator.generate({ prompt: "x", maxTokens: 80, wantLogits: true }, controller.signal);
    await idle.next();
    await until(() => (slow.coordinator.status().sessions[0]?.generated_tokens ?? 0) >= 60, "a reader far behind");
    controller.abort();
    const leftMs = performance.now();
    await untilFree(slow);
    expect(performance.now() - leftMs).toBeLessThan(1000);
    await idle.return(undefined);
  });

  it("of a client behind gRPC frees the slot within a second", async () => {
    const cluster = await startCluster(2, {}, { faults: { computeMs: 5 } });
    const remote = new RemoteCluster(cluster.coordinator.address);
    closers.push(async () => remote.close());
    const controller = new AbortController();
    const events = remote.generate({ prompt: PROMPT, maxTokens: 80 }, controller.signal);
    await events.next();
    controller.abort();
    const leftMs = performance.now();
    await untilFree(cluster);
    expect(performance.now() - leftMs).toBeLessThan(1000);
    expect((await errorOf(events.next())).code).toBe("INTERRUPTED");
  });

  it("of a waiting request leaves the queue at once", async () => {
    const cluster = await startCluster(1, { parallel: 1 }, { faults: { computeMs: 3 } });
    const first = new Background(cluster, { prompt: PROMPT, maxTokens: 60 });
    await until(() => first.tokens > 0, "first runs");
    const second = new Background(cluster, { prompt: PROMPT, maxTokens: 5 });
    await until(() => cluster.coordinator.status().serving.queued === 1, "second waits");
    second.cancel();
    expect((await errorOf(second.result)).code).toBe("INTERRUPTED");
    expect(cluster.coordinator.status().serving.queued).toBe(0);
    first.cancel();
    await untilFree(cluster);
  });
});

describe("deadlines", () => {
  it("end a request that waits, and one that runs", async () => {
    const cluster = await startCluster(1, { parallel: 1, contextTokens: 250 }, { faults: { computeMs: 10 } });
    const first = new Background(cluster, { prompt: PROMPT, maxTokens: 200, deadlineMs: 600 });
    await until(() => first.tokens > 0, "first runs");
    const second = new Background(cluster, { prompt: PROMPT, maxTokens: 5, deadlineMs: 50 });
    expect((await errorOf(second.result)).code).toBe("DEADLINE_EXCEEDED");
    expect((await errorOf(first.result)).code).toBe("DEADLINE_EXCEEDED");
    await untilFree(cluster);
  });
});

describe("the queue", () => {
  it("is limited, for all and for each named client, and says when to come again", async () => {
    const cluster = await startCluster(1, { parallel: 1, queue: 3, queuePerClient: 2 }, { faults: { computeMs: 3 } });
    const running = new Background(cluster, { prompt: PROMPT, maxTokens: 80, client: "a" });
    await until(() => running.tokens > 0, "first runs");
    const ask = (client: string): Background => new Background(cluster, { prompt: "x", maxTokens: 1, client });
    const waiting = [ask("a"), ask("a")];
    await until(() => cluster.coordinator.status().serving.queued === 2, "two wait");
    const refused = await errorOf(ask("a").result);
    expect(refused.code).toBe("QUEUE_FULL");
    expect(refused.details["retryAfterMs"]).toBeGreaterThanOrEqual(1000);
    waiting.push(ask("b"));
    await until(() => cluster.coordinator.status().serving.queued === 3, "three wait");
    expect((await errorOf(ask("c").result)).code).toBe("QUEUE_FULL");
    running.cancel();
    for (const one of waiting) expect((await one.result).tokens).toHaveLength(1);
  });

  it("lets larger priorities go first, and clients take turns", async () => {
    const cluster = await startCluster(1, { parallel: 1 }, { faults: { computeMs: 2 } });
    const first = new Background(cluster, { prompt: PROMPT, maxTokens: 80, client: "a" });
    await until(() => first.tokens > 0, "first runs");
    const order: string[] = [];
    const asked: readonly (readonly [string, string, number])[] = [
      ["a1", "a", 0],
      ["a2", "a", 0],
      ["b1", "b", 0],
      ["b2", "b", 0],
      ["urgent", "b", 5],
    ];
    const all = asked.map(async ([name, client, priority]) => {
      await collect(cluster.coordinator.generate({ prompt: "x", maxTokens: 1, client, priority }, never));
      order.push(name);
    });
    await until(() => cluster.coordinator.status().serving.queued === 5, "all wait");
    first.cancel();
    await Promise.all(all);
    expect(order).toEqual(["urgent", "a1", "b1", "a2", "b2"]);
  });
});

describe("text", () => {
  it("ends where a stop text begins, also across tokens, and is told as soon as it is certain", async () => {
    const cluster = await startCluster(2);
    const request = { prompt: PROMPT, maxTokens: 30, sampling: sampling(4) };
    const whole = await collect(cluster.coordinator.generate(request, never));
    const stop = whole.text.slice(7, 10);
    const at = whole.text.indexOf(stop);
    const stopped = await collect(cluster.coordinator.generate({ ...request, stop: ["never said", stop] }, never));
    expect(stopped.text).toBe(whole.text.slice(0, at));
    expect(stopped.done).toMatchObject({ finishReason: "stop", stopText: stop, generatedTokens: at + 3 });
    const open = await collect(
      cluster.coordinator.generate({ ...request, stop: [`${whole.text.slice(-3)}never`] }, never),
    );
    expect(open.text).toBe(whole.text);
    expect(open.done).toMatchObject({ finishReason: "length", stopText: null, generatedTokens: 30 });
  });
});

describe("log-probabilities", () => {
  it("are those of the model, for generated tokens and for the prompt", async () => {
    const cluster = await startCluster(3);
    const prompt = [...fakeTokenizer().tokenize(PROMPT)];
    const request = { prompt, maxTokens: 5, topLogprobs: 2, promptLogprobs: 3 };
    const events: GenerateEvent[] = [];
    for await (const event of cluster.coordinator.generate(request, never)) events.push(event);
    const stage = openFakeStage("0:6", { contextTokens: 128, parallel: 1, threads: 1 });
    stage.openSlot(0, GREEDY);
    const tokens = events.flatMap((event) => (event.type === "token" ? [event] : []));
    const all = [...prompt, ...tokens.map(({ tokenId }) => tokenId)];
    const expected = stage.forward({
      runs: [{ slot: 0, position: 0, rows: all.length - 1, output: "all", topLogprobs: 3, following: all.at(-1) ?? 0 }],
      tokens: Int32Array.from(all.slice(0, -1)),
      hidden: null,
    }).logprobs;
    const told = events.find((event) => event.type === "prompt");
    const plain = expected.map(({ tokenId, logprob, top }) => ({
      tokenId,
      logprob: expect.closeTo(logprob, 5) as number,
      top,
    }));
    const closeTop = (
      rows: readonly { readonly top: readonly { tokenId: number; logprob: number }[] }[],
      count: number,
    ) => rows.map(({ top }) => top.slice(0, count).map((one) => one.tokenId));
    expect(told?.logprobs.map(({ tokenId, logprob }) => ({ tokenId, logprob }))).toEqual(
      plain.slice(0, prompt.length - 1).map(({ tokenId, logprob }) => ({ tokenId, logprob })),
    );
    expect(closeTop(told?.logprobs ?? [], 3)).toEqual(closeTop(plain.slice(0, prompt.length - 1), 3));
    const generated = tokens.map(({ logprobs }) => must(logprobs, "log-probabilities"));
    expect(generated.map(({ tokenId, logprob }) => ({ tokenId, logprob }))).toEqual(
      plain.slice(prompt.length - 1).map(({ tokenId, logprob }) => ({ tokenId, logprob })),
    );
    expect(closeTop(generated, 2)).toEqual(closeTop(plain.slice(prompt.length - 1), 2));
    // The prompt's come once, before the first token.
    expect(events.map(({ type }) => type).slice(0, 3)).toEqual(["started", "prompt", "token"]);
    const scored = await collect(cluster.coordinator.generate({ prompt, maxTokens: 0, promptLogprobs: 0 }, never));
    expect(scored.tokens).toEqual([]);
  });
});

describe("over gRPC", () => {
  const prompt = [...fakeTokenizer().tokenize(PROMPT)];

  it("a request says and hears what it does in the coordinator's own process", async () => {
    const cluster = await startCluster(2);
    const remote = new RemoteCluster(cluster.coordinator.address);
    closers.push(async () => remote.close());
    const request = { prompt, maxTokens: 12, sampling: sampling(4), topLogprobs: 2, promptLogprobs: 1 };
    const eventsOf = async (events: AsyncIterable<{ readonly type: string }>) => {
      const told: object[] = [];
      for await (const event of events) if (event.type === "token" || event.type === "prompt") told.push(event);
      return told;
    };
    const whole = await eventsOf(cluster.coordinator.generate(request, never));
    expect(await eventsOf(remote.generate({ ...request, client: "me", priority: -7 }, never))).toEqual(whole);
    const stop = whole
      .flatMap((event) => ("text" in event ? [String(event.text)] : []))
      .join("")
      .slice(3, 6);
    const stopped = await collectGeneration(remote.generate({ ...request, stop: [stop] }, never), () => undefined);
    expect(stopped).toMatchObject({ finishReason: "stop" });
    expect(stopped.text).not.toContain(stop);
    expect(stopped.promptLogprobs).toHaveLength(prompt.length - 1);
    const late = remote.generate({ prompt, maxTokens: 80, deadlineMs: 1 }, never);
    expect((await errorOf(late.next().then(() => late.next()))).code).toBe("DEADLINE_EXCEEDED");
    for (const wrong of [{ priority: 101 }, { topLogprobs: 21 }])
      expect((await errorOf(remote.generate({ ...request, ...wrong }, never).next())).code).toBe("USAGE");
    for (const wrong of [{ stop: Array.from({ length: 17 }, () => "x") }, { client: "x".repeat(129) }])
      expect((await errorOf(remote.generate({ ...request, ...wrong }, never).next())).code).toBe("LIMIT_EXCEEDED");
  });

  it("notes come back, and are followed when they are said again", async () => {
    const cluster = await startCluster(1);
    const client = createClient(CoordinatorService, cluster.coordinator.address);
    closers.push(async () => client.close());
    const doneOf = async (request: MessageInitShape<typeof GenerateRequestSchema>): Promise<GenerateDone> => {
      for await (const { message } of client.rpc.generate(request, { signal: never })) {
        if (message.case === "done") return message.value;
      }
      throw new Error("no end");
    };
    const request = { promptTokenIds: prompt, maxTokens: 9, wantKvHashes: true };
    const first = await doneOf(request);
    expect(first).toMatchObject({ generatedTokens: 9, cachedTokens: 0 });
    const again = await doneOf({ ...request, arrange: first.notes });
    expect([again.kv, again.notes, again.stepRows]).toEqual([first.kv, first.notes, first.stepRows]);
    const endless = [{ position: 0, rows: 4_000_000_000, callRows: 1, place: 0, perCall: 1 }];
    expect((await errorOf(doneOf({ ...request, arrange: endless }))).code).toBe("USAGE");
    await untilFree(cluster);
  });
});

describe("prefixes", () => {
  const turn = (tokens: readonly number[], client = "me") => ({ prompt: tokens, maxTokens: 6, client });

  it("of the conversation so far are not read again, and change nothing", async () => {
    const cluster = await startCluster(3);
    const prompt = [...fakeTokenizer().tokenize(PROMPT)];
    const first = await collect(cluster.coordinator.generate(turn(prompt), never));
    expect(first.done.cachedTokens).toBe(0);
    const longer = [...prompt, ...first.tokens, 5, 6, 7];
    const second = await collect(
      cluster.coordinator.generate({ ...turn(longer), wantKvHashes: true, cachePrompt: true }, never),
    );
    expect(second.done.cachedTokens).toBe(prompt.length + first.tokens.length - 1);
    expect(second.tokens).toEqual(generateUndivided(turn(longer)).tokens);
    // The whole prompt is there: its last row is computed all the same.
    const again = await collect(cluster.coordinator.generate(turn(longer), never));
    expect(again.done.cachedTokens).toBe(longer.length - 1);
    expect(again.tokens).toEqual(second.tokens);
    const { prefix_cache: cache } = cluster.coordinator.status().serving;
    expect(cache).toMatchObject({ hits: 2, misses: 1, gone: 0 });
    expect(cache.reused_tokens).toBe(second.done.cachedTokens + again.done.cachedTokens);
    expect(cache.tokens).toBeGreaterThan(longer.length);
    expect(cache.bytes).toBeGreaterThan(0);
  });

  it("are not shared between clients, nor used where that is not wanted", async () => {
    const cluster = await startCluster(1);
    const prompt = [...fakeTokenizer().tokenize(PROMPT)];
    await collect(cluster.coordinator.generate(turn(prompt), never));
    const other = await collect(cluster.coordinator.generate(turn(prompt, "other"), never));
    const afresh = await collect(cluster.coordinator.generate({ ...turn(prompt), cachePrompt: false }, never));
    expect([other.done.cachedTokens, afresh.done.cachedTokens]).toEqual([0, 0]);
  });

  it("of a long conversation stay for it when another begins with a part of it", async () => {
    const cluster = await startCluster(2);
    const system = [...fakeTokenizer().tokenize("you are a helpful")];
    const long = [...system, ...fakeTokenizer().tokenize(PROMPT)];
    await collect(cluster.coordinator.generate(turn(long), never));
    const fresh = [...system, 1, 2, 3];
    const other = await collect(cluster.coordinator.generate(turn(fresh), never));
    expect(other.done.cachedTokens).toBe(system.length);
    expect(other.tokens).toEqual(generateUndivided(turn(fresh)).tokens);
    const back = await collect(cluster.coordinator.generate(turn([...long, 9]), never));
    expect(back.done.cachedTokens).toBe(long.length);
    expect(back.tokens).toEqual(generateUndivided(turn([...long, 9])).tokens);
  });

  it("of equal prompts that come together are read once", async () => {
    const cluster = await startCluster(2, {}, { faults: { computeMs: 2 } });
    const prompt = [...fakeTokenizer().tokenize(PROMPT)];
    const requests = [1, 2, 3, 4].map((seed) => ({ ...turn(prompt), sampling: sampling(seed) }));
    const results = await Promise.all(requests.map((request) => collect(cluster.coordinator.generate(request, never))));
    expect(results.map(({ done }) => done.cachedTokens).toSorted((a, b) => a - b)).toEqual([
      0,
      prompt.length - 1,
      prompt.length - 1,
      prompt.length - 1,
    ]);
    for (const [index, request] of requests.entries())
      expect(results[index]?.tokens).toEqual(generateUndivided(request).tokens);
  });

  it("that a stage has lost are read afresh", async () => {
    const cluster = await FakeCluster.start({ expect: 2 });
    closers.push(() => cluster.close());
    await cluster.addWorker("sound");
    await cluster.addWorker("forgetful", { forgetsPrefixes: true });
    await cluster.ready();
    const prompt = [...fakeTokenizer().tokenize(PROMPT)];
    await collect(cluster.coordinator.generate(turn(prompt), never));
    const second = await collect(cluster.coordinator.generate(turn([...prompt, 1]), never));
    expect(second.done.cachedTokens).toBe(0);
    expect(second.tokens).toEqual(generateUndivided(turn([...prompt, 1])).tokens);
    expect(cluster.coordinator.status().serving.prefix_cache.gone).toBe(1);
    await untilFree(cluster);
  });

  it("are not kept beyond the limit", async () => {
    const cluster = await startCluster(1, { prefixCacheBytes: 0 });
    const prompt = [...fakeTokenizer().tokenize(PROMPT)];
    await collect(cluster.coordinator.generate(turn(prompt), never));
    const second = await collect(cluster.coordinator.generate(turn(prompt), never));
    expect(second.done.cachedTokens).toBe(0);
    expect(cluster.coordinator.status().serving.prefix_cache).toMatchObject({ slots: 0, bytes: 0, limit_bytes: 0 });
  });
});

describe("a reader that stands still", () => {
  it("is dropped after a while, and its generation goes on to its end beside the others", async () => {
    const ended: (readonly [number, string | null])[] = [];
    const observer: ClusterObserver = {
      onRequest: (record) => {
        if (record.type === "end") ended.push([record.generatedTokens, record.errorCode]);
      },
    };
    const cluster = await startCluster(2, { readerStallMs: 300, observer });
    // With logits, so many unread tokens hold the generation back; it is let go with its reader.
    const slow = { prompt: PROMPT, maxTokens: 80, wantLogits: true, ignoreEos: true };
    const idle = cluster.coordinator.generate(slow, never);
    await idle.next();
    const request = { prompt: "another", maxTokens: 40 };
    const { tokens } = await collect(cluster.coordinator.generate(request, never));
    expect(tokens).toEqual(generateUndivided(request).tokens);
    await untilFree(cluster);
    expect(ended).toEqual([
      [40, null],
      [80, null],
    ]);
    expect((await errorOf(idle.next())).code).toBe("TIMED_OUT");
    const whole = [...fakeTokenizer().tokenize(PROMPT), ...generateUndivided(slow).tokens];
    const next = await collect(cluster.coordinator.generate({ prompt: whole, maxTokens: 1 }, never));
    expect(next.done.cachedTokens).toBe(whole.length - 1);
  });

  it("still ends its generation by going away", async () => {
    const cluster = await startCluster(2, { readerStallMs: 300 }, { faults: { computeMs: 20 } });
    const gone = new AbortController();
    const idle = cluster.coordinator.generate({ prompt: PROMPT, maxTokens: 80, ignoreEos: true }, gone.signal);
    await idle.next();
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(cluster.coordinator.status().serving.running).toBe(1);
    gone.abort();
    await untilFree(cluster);
    expect((await errorOf(idle.next())).code).toBe("TIMED_OUT");
  });
});

const GROUPS_OF_FOUR = JSON.stringify({
  schema: "noodle.row_classes.v1",
  engine_build: "fake",
  cpu_variant: "fake",
  threads: 1,
  probe_ms: 1,
  weights: [{ type: "q4_K", experts: false, rule: { kind: "full-groups", group: 4 } }],
  attention: { tiledRows: 64, splitCells: null, cellStep: 16 },
});

describe("determinism", () => {
  const inGroup = (notes: readonly { rows: number; callRows: number; place: number; perCall?: number }[]): boolean[] =>
    notes.flatMap(({ rows, callRows, place, perCall = rows }) =>
      Array.from({ length: rows }, (_, row) => place + (row % perCall) < 4 * Math.floor(callRows / 4)),
    );

  it("in strict computes a request in the same classes alone and among others", async () => {
    const cluster = await startCluster(
      2,
      { determinism: "strict" },
      { rowClasses: GROUPS_OF_FOUR, faults: { computeMs: 1 } },
    );
    expect(cluster.coordinator.status().serving).toMatchObject({ determinism: "strict", policy: { align: 4 } });
    const request = { prompt: PROMPT, maxTokens: 20, cachePrompt: false };
    const alone = await collect(cluster.coordinator.generate(request, never));
    const others = Array.from({ length: 7 }, (_, index) => ({ prompt: PROMPT.slice(index), maxTokens: 3 + 4 * index }));
    const [among] = await Promise.all(
      [request, ...others].map((one) => collect(cluster.coordinator.generate(one, never))),
    );
    expect(inGroup(must(among, "result").done.notes)).toEqual(inGroup(alone.done.notes));
    expect(among?.done.stepRows).toEqual(alone.done.stepRows);
    expect(among?.tokens).toEqual(alone.tokens);
  });

  it("in recorded gives notes by which each is computed again in its own classes", async () => {
    const cluster = await startCluster(2, {}, { rowClasses: GROUPS_OF_FOUR, faults: { computeMs: 1 } });
    const requests = Array.from({ length: 8 }, (_, index) => ({
      prompt: PROMPT.slice(index),
      maxTokens: 60,
      sampling: sampling(index),
      wantKvHashes: true,
    }));
    const results = await Promise.all(requests.map((request) => collect(cluster.coordinator.generate(request, never))));
    expect(results.some(({ done }) => inGroup(done.notes).slice(PROMPT.length).includes(true))).toBe(true);
    for (const [index, request] of requests.entries()) {
      const { tokens, done } = must(results[index], "result");
      const again = await collect(cluster.coordinator.generate({ ...request, arrange: done.notes }, never));
      expect(again.tokens).toEqual(tokens);
      expect(inGroup(again.done.notes)).toEqual(inGroup(done.notes));
      expect(again.done.kv).toEqual(done.kv);
    }
  });
});
