import { fileURLToPath } from "node:url";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ApiServer, createApiServer } from "../../src/api/index.ts";
import { readModelFile } from "../../src/cli/model-file.ts";
import { CoordinatedModel } from "../../src/cli/served-model.ts";
import { LocalCluster } from "../../src/cluster/local/index.ts";
import { GREEDY, loadEngine, openStage, Tokenizer } from "../../src/engine/index.ts";
import { STORYTELLER } from "../e2e/noodle.ts";
import { LmEval } from "./lm-eval.ts";
import { until } from "./serve-fake.ts";

/*
 * The bundled model over two real worker processes, asked over HTTP as clients ask.
 */

const ENTRY = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const START_TIMEOUT_MS = 120_000;
const CONTEXT_TOKENS = 256;
const TEXT = "The old fisherman went down to the sea and looked for his boat, which the storm had taken.";

const closers: (() => Promise<void> | void)[] = [];
let server: ApiServer;
let cluster: LocalCluster;
let tokenizer: Tokenizer;

beforeAll(async () => {
  loadEngine();
  tokenizer = Tokenizer.open(STORYTELLER);
  closers.push(() => tokenizer.close());
  cluster = await LocalCluster.start(
    { model: STORYTELLER, tokenizer, workers: 2, entry: ENTRY, threads: 1, contextTokens: CONTEXT_TOKENS, parallel: 4 },
    { signal: new AbortController().signal },
  );
  closers.push(() => cluster.close());
  const file = await readModelFile(STORYTELLER);
  const { coordinator } = cluster;
  // As plain as can be: a chat of one message is that text.
  const chatTemplate = "{% for message in messages %}{{ message.content }}{% endfor %}";
  const parts = { id: "storyteller", file, coordinator, tokenizer, chatTemplate, engine: {} };
  const model = new CoordinatedModel(parts);
  closers.push(() => model[Symbol.dispose]());
  server = createApiServer({ models: [model.served] });
  closers.push(() => server.close());
  await server.listen("127.0.0.1", 0);
}, START_TIMEOUT_MS);

afterAll(async () => {
  for (const close of closers.reverse()) await close();
});

function connect(): OpenAI {
  return new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "none", maxRetries: 0 });
}

/** Log-probabilities of the whole vocabulary behind each token, by the undivided model. */
class Undivided implements Disposable {
  readonly #stage: Awaited<ReturnType<typeof openStage>>;
  #position = 0;

  private constructor(stage: Awaited<ReturnType<typeof openStage>>) {
    this.#stage = stage;
    stage.openSlot(0, GREEDY);
  }

  static async open(): Promise<Undivided> {
    const options = { stageFile: STORYTELLER, contextTokens: CONTEXT_TOKENS, parallel: 1, threads: 1 };
    return new Undivided(await openStage(options));
  }

  push(token: number): Float64Array {
    const run = { slot: 0, position: this.#position, rows: 1, output: "last" as const };
    const input = { runs: [run], tokens: Int32Array.of(token), hidden: null };
    this.#position += 1;
    const logits = this.#stage.forward(input, { wantLogits: true }).sampled[0]?.logits;
    if (logits === null || logits === undefined) throw new Error("no logits");
    const best = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    const logSum = Math.log(logits.reduce((total, logit) => total + Math.exp(logit - best), 0)) + best;
    return Float64Array.from(logits, (logit) => logit - logSum);
  }

  [Symbol.dispose](): void {
    this.#stage.close();
  }
}

/** The log-probability of each token behind the first, and the best of each row. */
async function scoreUndivided(tokens: readonly number[]): Promise<{ own: number; best: number }[]> {
  using model = await Undivided.open();
  return tokens.slice(0, -1).map((token, position) => {
    const row = model.push(token);
    return { own: row[tokens[position + 1] ?? -1] ?? Number.NaN, best: Math.max(...row) };
  });
}

/** The likeliest continuation: each token's piece, its log-probability, and those of the five likeliest. */
async function continueUndivided(tokens: readonly number[], count: number) {
  using model = await Undivided.open();
  const rows = tokens.map((token) => model.push(token));
  return Array.from({ length: count }, () => {
    const row = rows.at(-1) ?? new Float64Array();
    const own = Math.max(...row);
    const token = row.indexOf(own);
    rows.push(model.push(token));
    const piece = Buffer.from(tokenizer.pieceBytes(token)).toString();
    return { piece, own, top: Array.from(row.toSorted().slice(-5).reverse()) };
  });
}

describe("a real cluster behind the API", () => {
  it("gives lm-eval the log-probabilities of the undivided model", async () => {
    const harness = new LmEval(`${server.url}/v1`, "storyteller");
    const tokens = await harness.encode(TEXT);
    const expected = await scoreUndivided(tokens);
    const cut = Math.floor(tokens.length / 2);
    const [half, whole] = await harness.score([
      { context: tokens.slice(0, cut), continuation: tokens.slice(cut) },
      { context: tokens.slice(0, 1), continuation: tokens.slice(1) },
    ]);
    const sum = (from: number): number => expected.slice(from).reduce((total, { own }) => total + own, 0);
    expect(whole?.logprob).toBeCloseTo(sum(0), 3);
    expect(half?.logprob).toBeCloseTo(sum(cut - 1), 3);
    const answer = await connect().completions.create({
      model: "storyteller",
      prompt: tokens,
      max_tokens: 1,
      echo: true,
      logprobs: 1,
      temperature: 0,
    });
    const logprobs = answer.choices[0]?.logprobs;
    expect(logprobs?.token_logprobs).toHaveLength(tokens.length + 1);
    expect(logprobs?.token_logprobs?.[0]).toBeNull();
    const worst = expected.map(({ own, best }, at) => {
      const top = logprobs?.top_logprobs?.[at + 1] ?? {};
      const offOwn = Math.abs((logprobs?.token_logprobs?.[at + 1] ?? Number.NaN) - own);
      return Math.max(offOwn, Math.abs(Math.max(...Object.values(top)) - best));
    });
    expect(Math.max(...worst)).toBeLessThan(1e-4);
  });

  it("gives the log-probabilities of what it generates, and of what it could have, for completions and chats", async () => {
    const count = 12;
    const expected = await continueUndivided(
      [...tokenizer.tokenize(TEXT, { addSpecial: true, parseSpecial: false })],
      count,
    );
    const common = { model: "storyteller", max_tokens: count, temperature: 0, ignore_eos: true };
    const completed = await connect().completions.create({ ...common, prompt: TEXT, logprobs: 5 });
    const messages = [{ role: "user" as const, content: TEXT }];
    const chatted = await connect().chat.completions.create({ ...common, messages, logprobs: true, top_logprobs: 5 });
    const legacy = completed.choices[0]?.logprobs;
    const content = chatted.choices[0]?.logprobs?.content ?? [];
    expect(legacy?.tokens).toEqual(expected.map(({ piece }) => piece));
    expect(content.map(({ token }) => token)).toEqual(expected.map(({ piece }) => piece));
    let worst = 0;
    for (const [at, { own, top }] of expected.entries()) {
      const said = [legacy?.token_logprobs?.[at], content[at]?.logprob].map((value) => Math.abs((value ?? NaN) - own));
      const others = [
        Object.values(legacy?.top_logprobs?.[at] ?? {}),
        content[at]?.top_logprobs.map(({ logprob }) => logprob) ?? [],
      ].flatMap((list) => top.map((value, i) => Math.abs((list.toSorted((a, b) => b - a)[i] ?? NaN) - value)));
      worst = Math.max(worst, ...said, ...others);
    }
    expect(worst).toBeLessThan(1e-4);
  });

  it("scores without generating, and generates until a stop", async () => {
    const scored = await connect().completions.create({
      model: "storyteller",
      prompt: TEXT,
      max_tokens: 0,
      echo: true,
      logprobs: 2,
    });
    expect(scored.choices[0]?.text).toBe(TEXT);
    expect(scored.usage?.completion_tokens).toBe(0);
    const harness = new LmEval(`${server.url}/v1`, "storyteller");
    const tokens = await harness.encode(TEXT);
    const free = await harness.generate(tokens, [], 40);
    const stop = free.slice(10, 14);
    expect(await harness.generate(tokens, [stop], 40)).toBe(free.slice(0, free.indexOf(stop)));
  });

  it("says the same streamed as whole, alone as among others, by its seed", async () => {
    const client = connect();
    const body = { model: "storyteller", prompt: TEXT, max_tokens: 24, temperature: 0.8, seed: 7 };
    const whole = await client.completions.create(body);
    const streamed = async (): Promise<string> => {
      let text = "";
      for await (const chunk of await client.completions.create({ ...body, stream: true })) {
        text += chunk.choices[0]?.text ?? "";
      }
      return text;
    };
    const texts = await Promise.all([streamed(), streamed(), streamed()]);
    expect(new Set([whole.choices[0]?.text, ...texts]).size).toBe(1);
    expect(whole).toMatchObject({ timings: { predicted_n: 24, stages: [{ first_unit: 0 }, { end_unit: 14 }] } });
  });

  it("frees the slot of a client that goes away", async () => {
    const body = { model: "storyteller", prompt: TEXT, max_tokens: 200, stream: true as const, ignore_eos: true };
    const stream = await connect().completions.create(body);
    for await (const _chunk of stream) stream.controller.abort();
    await until(() => cluster.coordinator.status().sessions.length === 0);
    expect(cluster.coordinator.status().health.status).toBe("ready");
  });

  it("holds the text to a grammar", async () => {
    const grammar = 'root ::= "yes" | "no"';
    const body = { model: "storyteller", prompt: "Is the sea blue?", max_tokens: 8, temperature: 0, grammar };
    const answer = await connect().completions.create(body);
    expect(["yes", "no"]).toContain(answer.choices[0]?.text);
    expect(answer.choices[0]?.finish_reason).toBe("stop");
  });
});
