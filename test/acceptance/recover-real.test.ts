import { afterEach, expect, it } from "vitest";
import { LocalCluster } from "../../src/cluster/local/index.ts";
import type { GenerateRequest } from "../../src/cluster/coordinator/index.ts";
import { must } from "../../src/common/index.ts";
import { Tokenizer } from "../../src/engine/index.ts";
import type { EventRecord } from "../../src/observe/index.ts";
import { collect, type Generated } from "../integration/fake-cluster.ts";

/*
 * Real processes: a worker is killed in the middle of three sentences. What they say, and every byte of their keys and
 * values, is what it would have been.
 */

const MODEL = "models/storyteller-q8_0.gguf";
const never = new AbortController().signal;
const TOKENS = 90;

const REQUESTS: readonly GenerateRequest[] = [
  { prompt: "Once upon a time", maxTokens: TOKENS },
  {
    prompt: "The little dog",
    maxTokens: TOKENS,
    sampling: { temperature: 0.8, topK: 40, topP: 0.95, minP: 0.02, repeatPenalty: 1.1, seed: 42 },
  },
  {
    prompt: "A list of words:",
    maxTokens: TOKENS,
    sampling: {
      temperature: 0.7,
      topK: 0,
      topP: 1,
      minP: 0,
      repeatPenalty: 1,
      seed: 7,
      grammar: 'root ::= word (" " word)*\nword ::= [a-z]{2,9}',
    },
  },
].map((request) => ({ ...request, ignoreEos: true, wantKvHashes: true }));

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

it("three streams in strict go on behind a SIGKILL of a worker with the same tokens and the same KV bytes", async () => {
  const events: EventRecord[] = [];
  using tokenizer = Tokenizer.open(MODEL);
  const cluster = await LocalCluster.start(
    {
      model: MODEL,
      tokenizer,
      workers: 3,
      entry: "dist/cli/main.js",
      threads: 1,
      contextTokens: 256,
      parallel: 4,
      determinism: "strict",
      observer: { onEvent: (event) => void events.push(event) },
    },
    { signal: never },
  );
  closers.push(() => cluster.close());
  const { coordinator } = cluster;
  const run = (onToken: () => void): Promise<Generated[]> =>
    Promise.all(
      REQUESTS.map((request) => {
        const counted = async function* (): ReturnType<typeof coordinator.generate> {
          for await (const event of coordinator.generate(request, never)) {
            if (event.type === "token") onToken();
            yield event;
          }
        };
        return collect(counted());
      }),
    );
  const whole = await run(() => undefined);
  let tokens = 0;
  const victim = must(cluster.workers[1]?.pid, "process of a worker");
  const disturbed = await run(() => {
    tokens += 1;
    // Supervisor and stage host: the whole machine is gone.
    if (tokens === 60) process.kill(-victim, "SIGKILL");
  });
  for (const [index, { tokens: said, text, done }] of disturbed.entries()) {
    const expected = must(whole[index], "undisturbed run");
    expect(said).toEqual(expected.tokens);
    expect(text).toBe(expected.text);
    expect(done.kv).toEqual(expected.done.kv);
    expect(done.kv.length).toBeGreaterThan(0);
  }
  const recovery = must(
    events.find(({ name }) => name === "recovery.done"),
    "event of the recovery",
  );
  expect(recovery.details).toMatchObject({ cause: "peer_dead", sessions: 3, resumed: 3, exact: true });
  // The worker is started again, and has its stage again.
  for (let i = 0; i < 400 && coordinator.status().stages.length < 3; i++) await new Promise((r) => setTimeout(r, 50));
  await coordinator.waitReady(never, 20_000);
  expect(coordinator.status().stages.map(({ state }) => state)).toEqual(["ready", "ready", "ready"]);
  expect(must(cluster.workers[1]?.pid, "process of a worker")).not.toBe(victim);
});
