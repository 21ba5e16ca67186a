import { HumanMessage, SystemMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI } from "@langchain/openai";
import { describe, expect, it } from "vitest";
import { ENDLESS, serveFake, type ServedFake, until } from "./serve-fake.ts";

function options(served: ServedFake) {
  return { model: "fake-model", apiKey: "none", maxRetries: 0, configuration: { baseURL: served.baseUrl } };
}

const WEATHER = {
  type: "function",
  function: {
    name: "weather",
    description: "The weather of a city.",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
} as const;

describe("LangChain", () => {
  it("invokes a chat model, with usage", async () => {
    await using served = await serveFake({ reply: () => "Hello wörld!" });
    const chat = new ChatOpenAI(options(served));
    const answer = await chat.invoke([new SystemMessage("Be short."), new HumanMessage("Hi")]);
    expect(answer.content).toBe("Hello wörld!");
    expect(answer).toMatchObject({ usage_metadata: { output_tokens: 14 } });
  });

  it("streams, and counts tokens by the usage chunk", async () => {
    await using served = await serveFake({ reply: () => "one two three" });
    let text = "";
    const usages: unknown[] = [];
    for await (const chunk of await new ChatOpenAI(options(served)).stream("Count")) {
      text += chunk.text;
      if (chunk.usage_metadata !== undefined) usages.push(chunk.usage_metadata);
    }
    expect(text).toBe("one two three");
    expect(usages).toMatchObject([{ output_tokens: 14 }]);
  });

  it("binds tools, and makes structured output of them", async () => {
    const reply = (): string => '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>';
    await using served = await serveFake({ reply });
    const chat = new ChatOpenAI(options(served));
    const answer = await chat.bindTools([WEATHER]).invoke("Weather in Oslo?");
    expect(answer.tool_calls).toMatchObject([{ name: "weather", args: { city: "Oslo" } }]);
    const structured = chat.withStructuredOutput<{ city: string }>(WEATHER.function.parameters, {
      name: "weather",
      method: "functionCalling",
    });
    expect(await structured.invoke("Which city?")).toEqual({ city: "Oslo" });
    expect(served.model.requests.at(-1)?.sampling?.grammar).toMatch(/^root ::=/m);
  });

  it("makes structured output of a schema, with tools beside it", async () => {
    await using served = await serveFake({ reply: () => '{"city": "Oslo"}' });
    const chat = new ChatOpenAI(options(served));
    const schema = { ...WEATHER.function.parameters, additionalProperties: false };
    const structured = chat.withStructuredOutput<{ city: string }>(schema, { name: "city", method: "jsonSchema" });
    expect(await structured.invoke("Which city?")).toEqual({ city: "Oslo" });
    const response_format = { type: "json_schema" as const, json_schema: { name: "city", schema } };
    const strict = { ...WEATHER, function: { ...WEATHER.function, strict: true } };
    const answer = await chat.bindTools([strict]).invoke("Which city?", { response_format });
    expect(answer.content).toBe('{"city": "Oslo"}');
    for (const { sampling } of served.model.requests) expect(sampling?.grammar).toMatch(/^root ::=/m);
  });

  it("cancels the generation when it is told to stop", async () => {
    await using served = await serveFake(ENDLESS);
    const controller = new AbortController();
    const stream = await new ChatOpenAI(options(served)).stream("Go on", { signal: controller.signal });
    const read = (async () => {
      for await (const _chunk of stream) controller.abort();
    })();
    await expect(read).rejects.toBeInstanceOf(Error);
    await until(() => served.model.cancelled === 1);
    expect(served.model).toMatchObject({ running: 0, finished: 0 });
  });

  it("completes text", async () => {
    await using served = await serveFake({ reply: () => "abcdef" });
    const completion = new OpenAI({ ...options(served), maxTokens: 3 });
    expect(await completion.invoke("x")).toBe("abc");
  });
});
