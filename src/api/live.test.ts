import { afterEach, describe, expect, it } from "vitest";
import type { ApiServerOptions } from "./api-options.ts";
import { type ApiServer, createApiServer } from "./api-server.ts";
import { type FakeModelOptions, FakeServedModel, readEventData, readEvents } from "./testing.ts";

const servers: ApiServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

interface Started {
  readonly server: ApiServer;
  readonly model: FakeServedModel;
  readonly post: (body: object, headers?: Record<string, string>) => Promise<Response>;
  readonly get: (path: string, headers?: Record<string, string>) => Promise<Response>;
}

async function start(model: FakeModelOptions = {}, options: ApiServerOptions = {}): Promise<Started> {
  const fake = new FakeServedModel({ reply: () => "Hello world!", ...model });
  const server = createApiServer({ models: [fake], ...options });
  servers.push(server);
  await server.listen("127.0.0.1", 0);
  return {
    server,
    model: fake,
    post: (body, headers = {}) =>
      fetch(`${server.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: JSON.stringify({ prompt: "x", max_tokens: 50, ...body }),
      }),
    get: (path, headers = {}) => fetch(`${server.url}${path}`, { headers }),
  };
}

/** Tokens come when they are let go. */
function makeGate(): { readonly beforeToken: () => Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { beforeToken: () => opened, open: () => open() };
}

/** Reads a stream up to so many events and leaves. */
async function readSome(response: Response, events: number): Promise<string> {
  let text = "";
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  while (readEvents(text.slice(0, text.lastIndexOf("\n\n") + 2)).length < events) {
    const { value, done } = await reader.read();
    if (done) break;
    text += Buffer.from(value).toString();
  }
  await reader.cancel();
  return text;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

const NAMED = { "idempotency-key": "a-request" };

describe("an Idempotency-Key", () => {
  it("gives the same response again, whole or as a stream, and runs once", async () => {
    const { model, post } = await start();
    for (const stream of [false, true]) {
      const key = { "idempotency-key": `key-${stream}` };
      const first = await (await post({ stream }, key)).text();
      expect(await (await post({ stream }, key)).text()).toBe(first);
    }
    expect(model.requests).toHaveLength(2);
  });

  it("attaches to what still runs, and outlives the client that named it", async () => {
    const gate = makeGate();
    const { model, post } = await start({ beforeToken: gate.beforeToken });
    for (const stream of [false, true]) {
      const key = { "idempotency-key": `key-${stream}` };
      const gone = new AbortController();
      const lost = fetch(`${servers[0]?.url}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...key },
        body: JSON.stringify({ prompt: "x", max_tokens: 50, stream }),
        signal: gone.signal,
      }).catch(() => null);
      await until(() => model.running === (stream ? 2 : 1));
      gone.abort();
      await lost;
    }
    const again = Promise.all([
      post({ stream: false }, { "idempotency-key": "key-false" }),
      post({ stream: true }, { "idempotency-key": "key-true" }),
    ]);
    gate.open();
    const [whole, stream] = await Promise.all((await again).map((response) => response.text()));
    expect(JSON.parse(whole ?? "")).toMatchObject({ choices: [{ text: "Hello world!" }] });
    expect(readEventData(stream ?? "").at(-1)).toBe("[DONE]");
    expect(model).toMatchObject({ finished: 2, cancelled: 0 });
    expect(model.requests).toHaveLength(2);
  });

  it("is refused for another body, and as a key that is none", async () => {
    const { post } = await start();
    await post({}, NAMED);
    const other = await post({ max_tokens: 3 }, NAMED);
    expect([other.status, await other.json()]).toMatchObject([422, { error: { code: "idempotency_mismatch" } }]);
    expect((await post({}, { "idempotency-key": "a b" })).status).toBe(400);
  });

  it("is free again when the request has failed", async () => {
    const { model, post } = await start({ failure: { error: new Error("no") } });
    expect((await post({}, NAMED)).status).toBe(500);
    model.options = { reply: () => "Hello" };
    expect((await post({}, NAMED)).status).toBe(200);
  });

  it("is one client's own", async () => {
    const { model, post } = await start({}, { apiKeys: ["first-key", "second-key"] });
    const as = (key: string) => ({ authorization: `Bearer ${key}`, ...NAMED });
    await (await post({}, as("first-key"))).text();
    await (await post({ max_tokens: 2 }, as("second-key"))).text();
    expect(model.requests).toHaveLength(2);
  });

  it("is kept in the model's own book, where it has one", async () => {
    const kept = new Map<string, string | null>();
    const { model, post } = await start();
    Object.assign(model, {
      replies: {
        claim: async ({ key }: { key: string }) => {
          const reply = kept.get(key);
          return typeof reply === "string" ? { state: "kept", reply } : { state: "claimed" };
        },
        keep: async ({ key }: { key: string }, reply: string | null) => void kept.set(key, reply),
      },
    });
    const first = readEventData(await (await post({ stream: true }, NAMED)).text());
    // What another process has kept.
    kept.set("other", kept.get("a-request") ?? null);
    const again = readEventData(await (await post({ stream: true }, { "idempotency-key": "other" })).text());
    expect(again).toEqual(first);
    expect(model.requests).toHaveLength(1);
  });
});

describe("a stream that was lost", () => {
  it("goes on behind Last-Event-ID, by the same request or by its id", async () => {
    const { model, post, get } = await start();
    const all = readEvents(await (await post({ stream: true })).text());
    const [id] = all[0]?.id?.split(":") ?? [];
    expect(all.map((event) => event.id)).toEqual(all.map((_, index) => `${id}:${index + 1}`));
    for (const at of [0, 3, all.length - 2]) {
      const headers = { "last-event-id": all[at]?.id ?? "" };
      expect(readEvents(await (await post({ stream: true }, headers)).text())).toEqual(all.slice(at + 1));
      const path = `/v1/generations/${id}/events`;
      expect(readEvents(await (await get(path, headers)).text())).toEqual(all.slice(at + 1));
    }
    expect(readEvents(await (await get(`/v1/generations/${id}/events`)).text())).toEqual(all);
    const end = await get(`/v1/generations/${id}/events`, { "last-event-id": all.at(-1)?.id ?? "" });
    expect(end.status).toBe(204);
    expect(model.requests).toHaveLength(1);
  });

  it("goes on in every choice, each where it was", async () => {
    const { post } = await start();
    const body = { stream: true, n: 3, stream_options: { include_usage: true } };
    const all = readEvents(await (await post(body)).text());
    const headers = { "last-event-id": all[6]?.id ?? "" };
    expect(readEvents(await (await post(body, headers)).text())).toEqual(all.slice(7));
  });

  it("can be followed while it runs", async () => {
    const { model, post } = await start({ beforeToken: () => new Promise((resolve) => setTimeout(resolve, 10)) });
    const first = await readSome(await post({ stream: true }, NAMED), 3);
    const last = readEvents(first.slice(0, first.lastIndexOf("\n\n") + 2)).at(-1)?.id ?? "";
    const rest = readEvents(await (await post({ stream: true }, { ...NAMED, "last-event-id": last })).text());
    const [id, index] = last.split(":");
    expect(rest[0]?.id).toBe(`${id}:${Number(index) + 1}`);
    expect(rest.at(-1)?.data).toBe("[DONE]");
    expect(model).toMatchObject({ finished: 1, cancelled: 0 });
  });

  it("is known to its own client alone, and not for ever", async () => {
    const options = { apiKeys: ["first-key", "second-key"], limits: { resumeMs: 50 } };
    const { post, get } = await start({}, options);
    const all = readEvents(await (await post({ stream: true }, { authorization: "Bearer first-key" })).text());
    const id = all[0]?.id ?? "";
    const path = `/v1/generations/${id.split(":")[0]}/events`;
    const foreign = await get(path, { authorization: "Bearer second-key" });
    expect([foreign.status, await foreign.json()]).toMatchObject([404, { error: { code: "generation_gone" } }]);
    const again = (): Promise<Response> => get(path, { authorization: "Bearer first-key" });
    for (let i = 0; i < 200 && (await again()).status !== 404; i++) await new Promise((r) => setTimeout(r, 10));
    expect((await again()).status).toBe(404);
  });

  it("is gone for a reader whose next event is not kept any more", async () => {
    const { post, get } = await start({}, { limits: { resumeBufferBytes: 1000 } });
    const all = readEvents(await (await post({ stream: true })).text());
    const path = `/v1/generations/${all[0]?.id?.split(":")[0]}/events`;
    expect((await get(path, { "last-event-id": all[0]?.id ?? "" })).status).toBe(404);
    const late = await get(path, { "last-event-id": all.at(-2)?.id ?? "" });
    expect(readEvents(await late.text())).toEqual(all.slice(-1));
  });

  it("refuses an id that is none, and one of another request", async () => {
    const { post, get } = await start();
    const all = readEvents(await (await post({ stream: true })).text());
    const headers = { "last-event-id": all[0]?.id ?? "" };
    expect((await post({ stream: true, max_tokens: 3 }, headers)).status).toBe(422);
    expect((await post({ stream: true }, { "last-event-id": "x" })).status).toBe(400);
    expect((await get("/v1/generations/cmpl-1/events", headers)).status).toBe(400);
    expect((await post({ stream: true }, { "last-event-id": "cmpl-1:4" })).status).toBe(404);
  });

  it("can be ended by its id, although it has a name", async () => {
    const { server, model, post } = await start({
      beforeToken: (_, signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
    });
    const reading = (await post({ stream: true, echo: true }, NAMED)).text();
    await until(() => model.running === 1);
    const early = readEvents(await readSome(await post({ stream: true, echo: true }, NAMED), 1));
    const id = early[0]?.id?.split(":")[0] ?? "";
    const ended = await fetch(`${server.url}/v1/generations/${id}/cancel`, { method: "POST" });
    expect(await ended.json()).toEqual({ id, object: "generation", status: "cancelled" });
    expect(await reading).toContain('"code":"interrupted"');
    expect(model.cancelled).toBe(1);
  });
});
