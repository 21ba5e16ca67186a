import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateObject, generateText, jsonSchema, streamText, tool } from "ai";
import { describe, expect, it } from "vitest";
import { ENDLESS, serveFake, type ServedFake, until } from "./serve-fake.ts";

function chooseModel(served: ServedFake) {
  const provider = createOpenAICompatible({
    name: "noodlecore",
    baseURL: served.baseUrl,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  return provider("fake-model");
}

const CITY = jsonSchema<{ city: string }>({
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
});

describe("the AI SDK", () => {
  it("generates text, with usage", async () => {
    await using served = await serveFake({ reply: () => "Hello wörld!" });
    const { text, usage, finishReason } = await generateText({
      model: chooseModel(served),
      prompt: "Hi",
      maxRetries: 0,
    });
    expect([text, finishReason, usage.outputTokens]).toEqual(["Hello wörld!", "stop", 14]);
  });

  it("streams text, and cancels it", async () => {
    await using served = await serveFake({ reply: () => "one two three" });
    const result = streamText({ model: chooseModel(served), prompt: "Count", maxRetries: 0 });
    let text = "";
    for await (const piece of result.textStream) text += piece;
    expect(text).toBe("one two three");
    expect((await result.usage).outputTokens).toBe(14);
    served.model.options = ENDLESS;
    const controller = new AbortController();
    const endless = streamText({
      model: chooseModel(served),
      prompt: "Go on",
      abortSignal: controller.signal,
      maxRetries: 0,
    });
    for await (const _piece of endless.textStream) controller.abort();
    await until(() => served.model.cancelled === 1);
  });

  it("calls tools and goes on with what they return", async () => {
    const reply = (prompt: string): string =>
      prompt.includes("8 degrees")
        ? "It is 8 degrees."
        : '<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>';
    await using served = await serveFake({ reply });
    const asked: string[] = [];
    const weather = tool({
      description: "The weather of a city.",
      inputSchema: CITY,
      execute: async ({ city }) => {
        asked.push(city);
        return "8 degrees";
      },
    });
    const { text } = await generateText({
      model: chooseModel(served),
      prompt: "Weather in Oslo?",
      tools: { weather },
      stopWhen: ({ steps }) => steps.length === 2,
      maxRetries: 0,
    });
    expect(asked).toEqual(["Oslo"]);
    expect(text).toBe("It is 8 degrees.");
  });

  it("makes objects of a schema", async () => {
    await using served = await serveFake({ reply: () => '{"city": "Oslo"}' });
    const { object } = await generateObject({
      model: chooseModel(served),
      schema: CITY,
      prompt: "Which city?",
      maxRetries: 0,
    });
    expect(object).toEqual({ city: "Oslo" });
    expect(served.model.requests[0]?.sampling?.grammar).toMatch(/^root ::=/m);
  });
});
