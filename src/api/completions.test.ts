import { afterAll, describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { createApiServer } from "./api-server.ts";
import { COMPLETION_RESPONSE } from "./schemas/completions.ts";
import { FakeServedModel, type FakeModelOptions, readEventData } from "./testing.ts";

interface Asked {
  readonly status: number;
  readonly headers: Record<string, unknown>;
  readonly text: string;
  readonly model: FakeServedModel;
}

const server = createApiServer();
afterAll(() => server.close());

async function ask(body: object, options: FakeModelOptions = {}): Promise<Asked> {
  const model = new FakeServedModel({ reply: () => "Hello wörld!", ...options });
  server.serve([model]);
  const answer = await server.app.inject({ method: "POST", url: "/v1/completions", payload: body });
  return { status: answer.statusCode, headers: answer.headers, text: answer.body, model };
}

async function complete(body: object, options: FakeModelOptions = {}) {
  const { status, text, model } = await ask(body, options);
  expect(status, text).toBe(200);
  return { ...COMPLETION_RESPONSE.parse(JSON.parse(text)), asked: model.requests };
}

/** The data of each event; the last one must be [DONE]. */
function readEvents(text: string): Record<string, unknown>[] {
  const events = readEventData(text);
  expect(events.pop()).toBe("[DONE]");
  return events.map((event) => JSON.parse(event) as Record<string, unknown>);
}

describe("a completion", () => {
  it("carries text, usage and timings", async () => {
    const { choices, usage, timings, asked } = await complete({ prompt: "Hi", max_tokens: 5 });
    expect(choices).toEqual([{ index: 0, text: "Hello", logprobs: null, finish_reason: "length" }]);
    expect(usage).toEqual({
      prompt_tokens: 3,
      completion_tokens: 5,
      total_tokens: 8,
      prompt_tokens_details: { cached_tokens: 0 },
    });
    expect(timings).toMatchObject({ queue_ms: 1, prefill_ms: 20, decode_ms: 40, prompt_n: 3, predicted_n: 5 });
    expect(timings?.stages.map(({ share }) => share)).toEqual([0.75, 0.25]);
    expect(asked[0]?.prompt).toEqual([256, 72, 105]);
  });

  it("is 16 tokens where nobody says, and has no timings where they are not wanted", async () => {
    const { usage, timings } = await complete({ prompt: "Hi", timings: false }, { reply: () => "x".repeat(99) });
    expect(usage?.completion_tokens).toBe(16);
    expect(timings).toBeUndefined();
  });

  it("takes token ids as they are, and several prompts with several choices in order", async () => {
    const reply = (prompt: string): string => prompt.toUpperCase();
    const single = await complete({ prompt: [104, 105], max_tokens: 2 }, { reply });
    expect(single.choices.map(({ text }) => text)).toEqual(["HI"]);
    expect(single.asked[0]?.prompt).toEqual([104, 105]);
    const many = await complete({ prompt: ["ab", "cd"], n: 2, max_tokens: 2 }, { reply });
    expect(many.choices.map(({ index, text }) => [index, text])).toEqual([
      [0, "AB"],
      [1, "AB"],
      [2, "CD"],
      [3, "CD"],
    ]);
    expect(many.usage).toMatchObject({ prompt_tokens: 6, completion_tokens: 8 });
    const ids = await complete({ prompt: [[97], [98]], max_tokens: 1 }, { reply });
    expect(ids.choices.map(({ text }) => text)).toEqual(["A", "B"]);
  });

  it("scores a prompt: entries for its tokens and the generated ones, the first null", async () => {
    const { choices } = await complete({ prompt: [72, 105], echo: true, logprobs: 1, max_tokens: 1 });
    expect(choices[0]).toEqual({
      index: 0,
      text: "HiH",
      logprobs: {
        tokens: ["H", "i", "H"],
        token_logprobs: [null, -1.05, -0.72],
        top_logprobs: [null, { i: -1.05 }, { H: -0.72 }],
        text_offset: [0, 1, 2],
      },
      finish_reason: "length",
    });
  });

  it("scores a prompt without generating anything", async () => {
    const { choices, usage } = await complete({ prompt: "Hi", echo: true, logprobs: 0, max_tokens: 0 });
    expect(choices[0]?.text).toBe("Hi");
    expect(choices[0]?.logprobs?.tokens).toEqual(["<|begin|>", "H", "i"]);
    expect(choices[0]?.logprobs?.text_offset).toEqual([0, 0, 1]);
    expect(usage?.completion_tokens).toBe(0);
  });

  it("names tokens that are no whole characters by their bytes, and counts offsets in characters", async () => {
    const { choices } = await complete({
      prompt: "é!",
      echo: true,
      logprobs: 2,
      max_tokens: 0,
      add_special_tokens: false,
    });
    expect(choices[0]?.logprobs?.tokens).toEqual(["bytes:\\xc3", "bytes:\\xa9", "!"]);
    expect(choices[0]?.logprobs?.text_offset).toEqual([0, 0, 1]);
  });

  it("reads special tokens in text unless it is told not to", async () => {
    const read = await complete({ prompt: "<|im_start|>", max_tokens: 1 });
    expect(read.asked[0]?.prompt).toEqual([256, 258]);
    const plain = await complete({
      prompt: "<|im_start|>",
      max_tokens: 1,
      parse_special: false,
      add_special_tokens: false,
    });
    expect(plain.asked[0]?.prompt).toHaveLength(12);
  });

  it("hands sampling on, and gives each choice a seed of its own", async () => {
    const { asked } = await complete({
      prompt: "x",
      n: 2,
      max_tokens: 1,
      temperature: 0.5,
      top_p: 0.9,
      top_k: 40,
      min_p: 0.05,
      typical_p: 0.8,
      repeat_penalty: 1.1,
      presence_penalty: 0.2,
      frequency_penalty: -0.3,
      logit_bias: { "65": 3, "66": -100 },
      seed: -1,
      stop: ["END", ""],
      ignore_eos: true,
      cache_prompt: false,
      priority: 5,
      deadline_ms: 1000,
    });
    const sampling = {
      temperature: 0.5,
      topP: 0.9,
      topK: 40,
      minP: 0.05,
      typicalP: 0.8,
      repeatPenalty: 1.1,
      presencePenalty: 0.2,
      frequencyPenalty: -0.3,
      logitBias: [
        [65, 3],
        [66, Number.NEGATIVE_INFINITY],
      ],
    };
    const common = { stop: ["END"], ignoreEos: true, cachePrompt: false, priority: 5, deadlineMs: 1000, maxTokens: 1 };
    expect(asked).toMatchObject([
      { ...common, sampling: { ...sampling, seed: 0xffffffff } },
      { ...common, sampling: { ...sampling, seed: 0 } },
    ]);
  });

  it("takes null for whatever is left away", async () => {
    const nulls = ["stop", "n", "temperature", "top_p", "seed", "logit_bias", "logprobs", "suffix", "best_of", "model"];
    const { usage } = await complete({
      prompt: "x",
      max_tokens: 1,
      ...Object.fromEntries(nulls.map((k) => [k, null])),
    });
    expect(usage?.completion_tokens).toBe(1);
  });

  it("ends at a stop text, which is not part of it", async () => {
    const { choices } = await complete({ prompt: "x", max_tokens: 50, stop: "wö" });
    expect(choices[0]).toMatchObject({ text: "Hello ", finish_reason: "stop" });
  });
});

describe("a streamed completion", () => {
  it("has one id, text piece by piece, its finish reason last, and usage only when it is asked for", async () => {
    const { text, headers } = await ask({ prompt: "x", max_tokens: 50, stream: true });
    expect(headers["content-type"]).toMatch(/^text\/event-stream/);
    const events = readEvents(text).map((event) => COMPLETION_RESPONSE.parse(event));
    expect(new Set(events.map(({ id }) => id)).size).toBe(1);
    expect(events.map(({ choices }) => choices[0]?.text).join("")).toBe("Hello wörld!");
    expect(events.map(({ choices }) => choices[0]?.finish_reason)).toEqual([...Array(12).fill(null), "stop"]);
    expect(events.every((event) => event.usage === undefined)).toBe(true);
    expect(events.at(-1)?.timings?.predicted_n).toBe(14);
  });

  it("ends with a chunk of usage alone, and says null before", async () => {
    const body = { prompt: "x", max_tokens: 2, stream: true, stream_options: { include_usage: true } };
    const events = readEvents((await ask(body)).text);
    expect(events.map(({ usage }) => usage === null)).toEqual([true, true, true, false]);
    expect(events.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 2, completion_tokens: 2 } });
  });

  it("sends the echoed prompt with its log-probabilities first", async () => {
    const { text } = await ask({ prompt: [72, 105], echo: true, logprobs: 1, max_tokens: 1, stream: true });
    const events = readEvents(text).map((event) => COMPLETION_RESPONSE.parse(event));
    const whole = events.flatMap(({ choices }) => choices[0]?.logprobs?.token_logprobs ?? []);
    expect(whole).toEqual([null, -1.05, -0.72]);
    expect(events.map(({ choices }) => choices[0]?.text).join("")).toBe("HiH");
  });

  it("carries an error in the stream when it comes too late for a status", async () => {
    const failure = { error: new NoodleError("PEER_DEAD", "worker-2 went away"), afterTokens: 2 };
    const { status, text } = await ask({ prompt: "x", max_tokens: 5, stream: true }, { failure });
    expect(status).toBe(200);
    const events = readEvents(text);
    expect(events).toHaveLength(3);
    expect(events.at(-1)).toMatchObject({ error: { code: "peer_dead", type: "server_error" } });
  });
});

describe("a completion that is refused", () => {
  it("names what is not supported", async () => {
    for (const field of [{ suffix: "end" }, { best_of: 2 }]) {
      const { status, text } = await ask({ prompt: "x", ...field });
      expect(status).toBe(400);
      expect(JSON.parse(text)).toMatchObject({ error: { code: "not_supported", param: Object.keys(field)[0] } });
    }
  });

  it("is told at once when the queue is full, and when to come back", async () => {
    const error = new NoodleError("QUEUE_FULL", "16 requests wait", { details: { retryAfterMs: 2500 } });
    for (const stream of [false, true]) {
      const { status, headers, text } = await ask({ prompt: "x", stream }, { failure: { error } });
      expect(status).toBe(429);
      expect(headers).toMatchObject({ "retry-after": "3", "retry-after-ms": "2500" });
      expect(JSON.parse(text)).toMatchObject({ error: { type: "rate_limit_error", code: "rate_limit_exceeded" } });
    }
  });

  it("tells clients to try again only where that can help", async () => {
    const notReady = await ask({ prompt: "x" }, { failure: { error: new NoodleError("CLUSTER_NOT_READY", "no") } });
    expect([notReady.status, notReady.headers["retry-after"], notReady.headers["x-should-retry"]]).toEqual([
      503,
      "2",
      undefined,
    ]);
    const failed = await ask({ prompt: "x" }, { failure: { error: new NoodleError("NON_FINITE", "NaN") } });
    expect([failed.status, failed.headers["x-should-retry"]]).toEqual([500, "false"]);
    const broken = await ask({ prompt: "x" }, { failure: { error: new TypeError("oops") } });
    expect([broken.status, broken.headers["x-should-retry"]]).toEqual([500, "false"]);
  });

  it("is refused when prompt and tokens to generate are more than the context", async () => {
    const options = { contextTokens: 64 };
    const fits = await ask({ prompt: Array(60).fill(65), max_tokens: 4 }, options);
    expect(fits.status).toBe(200);
    for (const [param, body] of [
      ["max_tokens", { prompt: Array(60).fill(65), max_tokens: 5 }],
      ["prompt", { prompt: Array(64).fill(65) }],
      ["prompt", { prompt: "x".repeat(100_000) }],
    ] as const) {
      const { status, text, model } = await ask(body, options);
      expect(status).toBe(400);
      expect(JSON.parse(text)).toMatchObject({ error: { code: "context_length_exceeded", param } });
      if (param === "max_tokens") expect(text).toMatch(/max_tokens is 5.* room for 4 /);
      expect(model.requests).toHaveLength(0);
    }
  });

  it("refuses ids that the model does not have, and prompts of nothing", async () => {
    for (const body of [{ prompt: [259] }, { prompt: "x", logit_bias: { "259": 1 } }]) {
      expect((await ask(body)).status).toBe(400);
    }
    const empty = await ask({ prompt: "", add_special_tokens: false });
    expect(JSON.parse(empty.text)).toMatchObject({ error: { code: "prompt_empty" } });
  });
});
