import OpenAI from "openai";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../../src/common/index.ts";
import { ENDLESS, serveFake, type ServedFake, until } from "./serve-fake.ts";

const CALL = '<tool_call>{"name": "get_weather", "arguments": {"city": "Oslo"}}</tool_call>';
const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
} as const;

function connect(served: ServedFake, options: { maxRetries?: number; apiKey?: string } = {}): OpenAI {
  return new OpenAI({ baseURL: served.baseUrl, apiKey: "none", maxRetries: 0, ...options });
}

describe("the openai client", () => {
  it("lists models, and asks for one", async () => {
    await using served = await serveFake();
    const client = connect(served);
    const ids: string[] = [];
    for await (const model of client.models.list()) ids.push(model.id);
    expect(ids).toEqual(["fake-model"]);
    expect(await client.models.retrieve("fake-model")).toMatchObject({ object: "model", owned_by: "noodlecore" });
  });

  it("chats", async () => {
    await using served = await serveFake({ reply: () => "Hello wörld!" });
    const { data, response } = await connect(served)
      .chat.completions.create({
        model: "fake-model",
        messages: [
          { role: "system", content: "Be short." },
          { role: "user", content: [{ type: "text", text: "Say hello" }] },
        ],
        logprobs: true,
        top_logprobs: 2,
        n: 2,
        seed: 1,
      })
      .withResponse();
    expect(data.choices.map(({ message }) => message.content)).toEqual(["Hello wörld!", "Hello wörld!"]);
    expect(data.choices.map(({ index, finish_reason }) => [index, finish_reason])).toEqual([
      [0, "stop"],
      [1, "stop"],
    ]);
    expect(data.choices[0]?.logprobs?.content?.[0]).toEqual({
      token: "H",
      logprob: -0.72,
      bytes: [72],
      top_logprobs: [
        { token: "H", logprob: -0.72, bytes: [72] },
        { token: "I", logprob: expect.closeTo(-0.82, 9), bytes: [73] },
      ],
    });
    expect(data.usage?.completion_tokens).toBe(28);
    expect(response.headers.get("x-request-id")).toMatch(/^req_/);
    const prompt = served.model.requests[0]?.prompt as number[];
    expect(prompt.filter((id) => id === 258)).toHaveLength(3);
  });

  it("streams a chat: the role first, the finish reason last, usage behind", async () => {
    await using served = await serveFake({ reply: () => "Hello wörld!" });
    const stream = await connect(served).chat.completions.create({
      model: "fake-model",
      messages: [{ role: "user", content: "Say hello" }],
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("Hello wörld!");
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toBe("stop");
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: 14 } });
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
  });

  it("assembles a stream by its own helper", async () => {
    await using served = await serveFake({ reply: () => CALL });
    const runner = connect(served).chat.completions.stream({
      model: "fake-model",
      messages: [{ role: "user", content: "Weather in Oslo?" }],
      tools: [WEATHER],
    });
    const final = await runner.finalChatCompletion();
    expect(final.choices[0]?.message.tool_calls?.[0]?.function).toMatchObject({ name: "get_weather" });
    expect(final.choices[0]?.finish_reason).toBe("tool_calls");
  });

  it("completes text, streamed and not", async () => {
    await using served = await serveFake({ reply: () => "abcdef" });
    const client = connect(served);
    const body = { model: "fake-model", prompt: "x", max_tokens: 3 };
    const whole = await client.completions.create({ ...body, logprobs: 1, echo: true });
    expect(whole.choices[0]?.text).toBe("xabc");
    expect(whole.choices[0]?.logprobs?.tokens).toEqual(["<|begin|>", "x", "a", "b", "c"]);
    let text = "";
    for await (const chunk of await client.completions.create({ ...body, stream: true })) {
      text += chunk.choices[0]?.text ?? "";
    }
    expect(text).toBe("abc");
  });

  it("cancels the generation when it aborts", async () => {
    await using served = await serveFake(ENDLESS);
    const client = connect(served);
    const stream = await client.chat.completions.create({
      model: "fake-model",
      messages: [{ role: "user", content: "x" }],
      stream: true,
    });
    let chunks = 0;
    for await (const _chunk of stream) {
      chunks += 1;
      if (chunks === 5) stream.controller.abort();
    }
    await until(() => served.model.cancelled === 1);
    const controller = new AbortController();
    const whole = client.completions.create(
      { model: "fake-model", prompt: "x", max_tokens: 1000 },
      { signal: controller.signal },
    );
    await until(() => served.model.running === 1);
    controller.abort();
    await expect(whole).rejects.toBeInstanceOf(OpenAI.APIUserAbortError);
    await until(() => served.model.cancelled === 2);
  });

  it("calls tools, and is answered when it sends what they returned", async () => {
    await using served = await serveFake({
      reply: (prompt) => (prompt.includes("8 degrees") ? "It is 8 degrees." : CALL),
    });
    const client = connect(served);
    const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "Weather in Oslo?" }];
    const asked = await client.chat.completions.create({ model: "fake-model", messages, tools: [WEATHER] });
    const message = asked.choices[0]?.message;
    expect(asked.choices[0]?.finish_reason).toBe("tool_calls");
    expect(message?.content).toBeNull();
    const [call] = message?.tool_calls ?? [];
    expect(call).toMatchObject({ type: "function", function: { name: "get_weather" } });
    if (message === undefined || call?.type !== "function") throw new Error("no call");
    expect(JSON.parse(call.function.arguments)).toEqual({ city: "Oslo" });
    messages.push(message, { role: "tool", tool_call_id: call.id, content: "8 degrees" });
    const answered = await client.chat.completions.create({ model: "fake-model", messages, tools: [WEATHER] });
    expect(answered.choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "It is 8 degrees." } });
  });

  it("binds the text to a grammar when a tool, JSON or a schema is required", async () => {
    await using served = await serveFake({ reply: () => '{"name": "Ada"}' });
    const client = connect(served);
    const base = { model: "fake-model", messages: [{ role: "user" as const, content: "Who?" }] };
    const schema = {
      type: "object",
      properties: { name: { type: "string" } },
      required: ["name"],
      additionalProperties: false,
    };
    const formats: NonNullable<OpenAI.ChatCompletionCreateParams["response_format"]>[] = [
      { type: "json_object" },
      { type: "json_schema", json_schema: { name: "person", schema, strict: true } },
    ];
    for (const response_format of formats) {
      const { choices } = await client.chat.completions.create({ ...base, response_format });
      expect(JSON.parse(choices[0]?.message.content ?? "")).toEqual({ name: "Ada" });
    }
    await client.chat.completions.create({ ...base, tools: [WEATHER], tool_choice: "required" });
    await client.chat.completions.create({ ...base, tools: [WEATHER], tool_choice: "none" });
    const grammars = served.model.requests.map(({ sampling }) => sampling?.grammar);
    expect(grammars.slice(0, 3).every((grammar) => /^root ::=/m.test(grammar ?? ""))).toBe(true);
    expect(new Set(grammars.slice(0, 3)).size).toBe(3);
    expect(grammars[3]).toBeUndefined();
  });

  it("gets errors of its own classes, with code, field and request id", async () => {
    await using served = await serveFake();
    const client = connect(served);
    const messages = [{ role: "user" as const, content: "x" }];
    const wrongModel = client.chat.completions.create({ model: "gpt-4", messages });
    await expect(wrongModel).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(wrongModel).rejects.toMatchObject({
      code: "model_not_found",
      param: "model",
      type: "not_found_error",
    });
    const tooMany = client.chat.completions.create({ model: "fake-model", messages, n: 9 });
    await expect(tooMany).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(tooMany).rejects.toMatchObject({ code: "limit_exceeded", requestID: expect.stringMatching(/^req_/) });
    const embedded = client.embeddings.create({ model: "fake-model", input: "x" });
    await expect(embedded).rejects.toMatchObject({ status: 400, code: "not_supported" });
    await using closed = await serveFake({}, { apiKeys: ["secret"] });
    await expect(connect(closed).models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    expect((await connect(closed, { apiKey: "secret" }).models.list()).data).toHaveLength(1);
  });

  it("tries again while the queue is full, and not when that can't help", async () => {
    await using served = await serveFake();
    const client = connect(served, { maxRetries: 2 });
    const full = new NoodleError("QUEUE_FULL", "16 wait", { details: { retryAfterMs: 1 } });
    served.model.options = { failure: { error: full } };
    const refused = client.completions.create({ model: "fake-model", prompt: "x" });
    await expect(refused).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    expect(served.model.requests).toHaveLength(3);
    served.model.options = { failure: { error: new NoodleError("NON_FINITE", "NaN in block 3") } };
    const failed = client.completions.create({ model: "fake-model", prompt: "x" });
    await expect(failed).rejects.toBeInstanceOf(OpenAI.InternalServerError);
    expect(served.model.requests).toHaveLength(4);
  });

  it("throws when a stream fails on its way", async () => {
    await using served = await serveFake({ failure: { error: new NoodleError("PEER_DEAD", "gone"), afterTokens: 3 } });
    const stream = await connect(served).chat.completions.create({
      model: "fake-model",
      messages: [{ role: "user", content: "x" }],
      stream: true,
    });
    let text = "";
    const read = (async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    })();
    await expect(read).rejects.toMatchObject({ code: "peer_dead" });
    expect(text).toHaveLength(3);
  });
});
