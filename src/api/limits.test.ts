import { afterAll, describe, expect, it } from "vitest";
import { createApiServer } from "./api-server.ts";
import { compileLimits, DEFAULT_LIMITS } from "./limits.ts";
import { FakeServedModel } from "./testing.ts";

const model = new FakeServedModel({ contextTokens: 16_384 });
const server = createApiServer({ models: [model] });
afterAll(() => server.close());

const COMPLETIONS = "/v1/completions";
const CHAT = "/v1/chat/completions";
const MESSAGES = [{ role: "user", content: "hi" }];

async function post(
  url: string,
  payload: object | string,
): Promise<{ status: number; error: Record<string, unknown> }> {
  const headers = { "content-type": "application/json" };
  const answer = await server.app.inject({ method: "POST", url, headers, payload });
  return { status: answer.statusCode, error: answer.json<{ error: Record<string, unknown> }>().error };
}

const many = (count: number, item: unknown): unknown[] => Array.from({ length: count }, () => item);
const nested = (depth: number): object => (depth === 0 ? {} : { inner: nested(depth - 1) });
const bias = (entries: number): object => Object.fromEntries(many(entries, 0).map((_, id) => [String(id), 1]));

describe("a request beyond a limit", () => {
  // Path, body, the field that is named, and the limit that the message must name.
  const cases: readonly (readonly [string, object, string | null, number])[] = [
    [COMPLETIONS, { prompt: "x", max_tokens: 4097 }, "max_tokens", 4096],
    [COMPLETIONS, { prompt: "x", n: 5 }, "n", 4],
    [COMPLETIONS, { prompt: "x", stop: many(17, "a") }, "stop", 16],
    [COMPLETIONS, { prompt: "x", stop: "a".repeat(129) }, "stop", 128],
    [COMPLETIONS, { prompt: "x", stop: "é".repeat(65) }, "stop", 128],
    [COMPLETIONS, { prompt: "x", stop: ["a", "b".repeat(129)] }, "stop.1", 128],
    [COMPLETIONS, { prompt: "x", logprobs: 21 }, "logprobs", 20],
    [COMPLETIONS, { prompt: "x", logit_bias: bias(1025) }, "logit_bias", 1024],
    [COMPLETIONS, { prompt: "x", grammar: "a".repeat(65_537) }, "grammar", 65_536],
    [COMPLETIONS, { prompt: "x", temperature: 6 }, "temperature", 5],
    [COMPLETIONS, { prompt: "x", priority: 101 }, "priority", 100],
    [COMPLETIONS, { prompt: "x", deadline_ms: 3_600_001 }, "deadline_ms", 3_600_000],
    [COMPLETIONS, { prompt: many(65, "x") }, "prompt", 64],
    [COMPLETIONS, { prompt: many(64, many(4000, 65)), echo: true, logprobs: 20, max_tokens: 0 }, "logprobs", 131_072],
    [COMPLETIONS, { prompt: "x", unknown: nested(32) }, null, 32],
    [COMPLETIONS, { prompt: "x", unknown: bias(16_384) }, null, 16_384],
    [CHAT, { messages: many(257, MESSAGES[0]) }, "messages", 256],
    [CHAT, { messages: many(100_000, 1) }, "messages", 256],
    [CHAT, { messages: MESSAGES, logprobs: true, top_logprobs: 21 }, "top_logprobs", 20],
    [CHAT, { messages: MESSAGES, max_completion_tokens: 4097 }, "max_completion_tokens", 4096],
    [CHAT, { messages: MESSAGES, tools: many(129, {}) }, "tools", 128],
    [CHAT, { messages: MESSAGES, stop: many(17, "a") }, "stop", 16],
    ["/apply-template", { messages: many(257, MESSAGES[0]) }, "messages", 256],
    ["/v1/embeddings", { input: many(65, "a") }, "input", 64],
    ["/detokenize", { tokens: many(65_537, 1) }, "tokens", 65_536],
  ];

  it.each(cases)("POST %s is refused by name, case %#", async (url, body, param, limit) => {
    const { status, error } = await post(url, body);
    expect(status).toBe(400);
    expect(error).toMatchObject({ code: "limit_exceeded", type: "invalid_request_error", param });
    expect(error["message"]).toContain(String(limit));
  });

  it("is refused by its size before it is read", async () => {
    for (const url of [COMPLETIONS, CHAT, "/tokenize"]) {
      const { status, error } = await post(url, `{"prompt":"${"x".repeat(DEFAULT_LIMITS.bodyBytes)}"}`);
      expect(status).toBe(413);
      expect(error).toMatchObject({ code: "body_too_large" });
      expect(error["message"]).toContain(String(DEFAULT_LIMITS.bodyBytes));
    }
  });

  it("never reaches a model", () => {
    expect(model.requests).toHaveLength(0);
  });
});

describe("a request of a wrong form", () => {
  const cases: readonly (readonly [string, object, string | null])[] = [
    [COMPLETIONS, {}, "prompt"],
    [COMPLETIONS, { prompt: [] }, "prompt"],
    [COMPLETIONS, { prompt: [1, "a"] }, "prompt"],
    [COMPLETIONS, { prompt: [1.5] }, "prompt"],
    [COMPLETIONS, { prompt: [-1] }, "prompt"],
    [COMPLETIONS, { prompt: [[]] }, "prompt"],
    [COMPLETIONS, { prompt: { text: "x" } }, "prompt"],
    [COMPLETIONS, { prompt: "x", max_tokens: "5" }, "max_tokens"],
    [COMPLETIONS, { prompt: "x", max_tokens: 1.5 }, "max_tokens"],
    [COMPLETIONS, { prompt: "x", max_tokens: -1 }, "max_tokens"],
    [COMPLETIONS, { prompt: "x", stream: "yes" }, "stream"],
    [COMPLETIONS, { prompt: "x", stop: 5 }, "stop"],
    [COMPLETIONS, { prompt: "x", logit_bias: { x: 1 } }, "logit_bias.x"],
    [COMPLETIONS, { prompt: "x", response_format: { type: "xml" } }, "response_format.type"],
    [CHAT, {}, "messages"],
    [CHAT, { messages: [] }, "messages"],
    [CHAT, { messages: [{ role: "king", content: "x" }] }, "messages.0.role"],
    [CHAT, { messages: [{ role: "user", content: 5 }] }, "messages.0.content"],
    [CHAT, { messages: MESSAGES, top_logprobs: 2 }, "top_logprobs"],
    [CHAT, { messages: MESSAGES, tools: [{ type: "function", function: { name: "a b" } }] }, "tools.0.function.name"],
    [CHAT, { messages: MESSAGES, tool_choice: "maybe" }, "tool_choice"],
    ["/tokenize", {}, null],
    ["/detokenize", { tokens: ["a"] }, "tokens"],
    ["/apply-template", {}, "messages"],
    ["/v1/embeddings", {}, "input"],
    [COMPLETIONS, [], null],
  ];

  it.each(cases)("POST %s names the field, case %#", async (url, body, param) => {
    const { status, error } = await post(url, body);
    expect(status).toBe(400);
    expect(error).toMatchObject({ type: "invalid_request_error", param });
    expect(["request_invalid", "limit_exceeded"]).toContain(error["code"]);
  });

  it("is refused when it is no JSON, no UTF-8, or of another media type", async () => {
    expect(await post(COMPLETIONS, '{"prompt": ')).toMatchObject({ status: 400, error: { code: "request_invalid" } });
    const bytes = Buffer.from('{"prompt":"\xff"}', "latin1");
    expect(await post(COMPLETIONS, bytes)).toMatchObject({ status: 400, error: { code: "request_invalid" } });
    const headers = { "content-type": "text/plain" };
    const other = await server.app.inject({ method: "POST", url: COMPLETIONS, headers, payload: "{}" });
    expect(other.statusCode).toBe(415);
    expect(other.json()).toMatchObject({ error: { code: "unsupported_media_type" } });
    const none = await server.app.inject({ method: "POST", url: COMPLETIONS });
    expect(none.statusCode).toBe(400);
  });

  it("is told which models there are when it asks for another", async () => {
    for (const url of [COMPLETIONS, CHAT]) {
      const { status, error } = await post(url, { model: "gpt-4", prompt: "x", messages: MESSAGES });
      expect(status).toBe(404);
      expect(error).toMatchObject({ code: "model_not_found", param: "model" });
      expect(error["message"]).toContain("fake-model");
    }
  });

  it("is refused where it wants embeddings of a model that has none", async () => {
    const { status, error } = await post("/v1/embeddings", { model: "fake-model", input: "text" });
    expect(status).toBe(400);
    expect(error).toMatchObject({ code: "not_supported", param: "model" });
  });
});

describe("limits", () => {
  it("must be positive integers", () => {
    for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => compileLimits({ n: value })).toThrow(expect.objectContaining({ code: "USAGE" }));
    }
    expect(compileLimits({ n: 8 })).toEqual({ ...DEFAULT_LIMITS, n: 8 });
  });
});
