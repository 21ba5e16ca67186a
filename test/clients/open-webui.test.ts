import { describe, expect, it } from "vitest";
import { ENDLESS, serveFake, until } from "./serve-fake.ts";

/*
 * What Open WebUI asks of an OpenAI connection, in its order: the list of models with a key, a streamed chat with the
 * fields that its settings may add, and short chats behind it for a title and for tags.
 */
const HEADERS = { authorization: "Bearer secret", "content-type": "application/json" };

describe("Open WebUI's requests", () => {
  it("find the models, chat in a stream, and ask for a title", async () => {
    await using served = await serveFake({ reply: () => "Hello there" }, { apiKeys: ["secret"] });
    const list = await fetch(`${served.baseUrl}/models`, { headers: HEADERS });
    const models = (await list.json()) as { object: string; data: { id: string; name?: unknown }[] };
    expect(models.object).toBe("list");
    expect(models.data.map(({ id }) => id)).toEqual(["fake-model"]);
    expect(models.data.every((model) => model.name === undefined || typeof model.name === "string")).toBe(true);

    const chat = await fetch(`${served.baseUrl}/chat/completions`, {
      method: "POST",
      headers: HEADERS,
      body: JSON.stringify({
        model: "fake-model",
        stream: true,
        stream_options: { include_usage: true },
        messages: [
          { role: "system", content: "User context" },
          { role: "user", content: "Hi" },
        ],
        temperature: 0.7,
        top_p: 0.9,
        max_tokens: 64,
        frequency_penalty: 0,
        seed: 42,
        stop: [],
        logit_bias: {},
        metadata: { chat_id: "1", features: { web_search: false } },
        tool_ids: null,
      }),
    });
    expect(chat.status).toBe(200);
    expect(chat.headers.get("content-type")).toContain("text/event-stream");
    const lines = (await chat.text()).split("\n").filter((line) => line !== "");
    // What it does not know it skips, as the ids of events.
    const data = lines.filter((line) => line.startsWith("data: "));
    expect(lines.filter((line) => line.startsWith("id: "))).toHaveLength(data.length);
    const chunks = data.slice(0, -1).map((line) => JSON.parse(line.slice(6)) as Chunk);
    expect(lines.at(-1)).toBe("data: [DONE]");
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("Hello there");
    expect(chunks.at(-1)?.usage).toMatchObject({ completion_tokens: 12 });

    const title = await fetch(`${served.baseUrl}/chat/completions`, {
      method: "POST",
      headers: HEADERS,
      body: JSON.stringify({
        model: "fake-model",
        messages: [{ role: "user", content: "### Task: a title for this chat" }],
        stream: false,
        max_completion_tokens: 1000,
        metadata: { task: "title_generation" },
      }),
    });
    expect(await title.json()).toMatchObject({ choices: [{ message: { role: "assistant", content: "Hello there" } }] });
  });

  it("to regenerate or stop: a closed connection ends the generation", async () => {
    await using served = await serveFake(ENDLESS, { apiKeys: ["secret"] });
    const controller = new AbortController();
    const chat = await fetch(`${served.baseUrl}/chat/completions`, {
      method: "POST",
      headers: HEADERS,
      body: JSON.stringify({ model: "fake-model", stream: true, messages: [{ role: "user", content: "Hi" }] }),
      signal: controller.signal,
    });
    const reader = chat.body?.getReader();
    expect((await reader?.read())?.done).toBe(false);
    controller.abort();
    await until(() => served.model.cancelled === 1);
    expect(served.model).toMatchObject({ running: 0, finished: 0 });
  });

  it("with a wrong key are told so where it looks for it", async () => {
    await using served = await serveFake({}, { apiKeys: ["secret"] });
    const refused = await fetch(`${served.baseUrl}/models`, { headers: { authorization: "Bearer wrong" } });
    expect(refused.status).toBe(401);
    expect(await refused.json()).toMatchObject({ error: { message: expect.any(String) as string } });
  });
});

interface Chunk {
  readonly choices: { readonly delta: { readonly content?: string } }[];
  readonly usage: object | null;
}
