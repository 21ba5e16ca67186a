import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import type { ApiServerOptions } from "./api-options.ts";
import { type ApiServer, createApiServer } from "./api-server.ts";
import { type FakeModelOptions, FakeServedModel } from "./testing.ts";

const open: { close(): Promise<void> | void }[] = [];
afterEach(async () => {
  for (const each of open.splice(0)) await each.close();
});

async function start(
  model: FakeModelOptions,
  options: ApiServerOptions = {},
): Promise<{ server: ApiServer; model: FakeServedModel; port: number }> {
  const fake = new FakeServedModel(model);
  const server = createApiServer({ models: [fake], ...options });
  open.push({ close: () => server.close() });
  await server.listen("127.0.0.1", 0);
  return { server, model: fake, port: Number(new URL(server.url).port) };
}

async function dial(port: number): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  open.push({ close: () => void socket.destroy() });
  await once(socket, "connect");
  return socket;
}

/** Everything that comes until the other side ends. */
async function readAll(socket: Socket): Promise<string> {
  let text = "";
  socket.on("data", (bytes: Buffer) => {
    text += bytes.toString();
  });
  if (!socket.destroyed) await once(socket, "close");
  return text;
}

function writePost(path: string, body: object): string {
  const text = JSON.stringify(body);
  const head = `POST ${path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n`;
  return `${head}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

const LONG = { prompt: "x", max_tokens: 4000 };
/** Tokens for ever, one in each turn of the event loop. */
const SLOW: FakeModelOptions = {
  contextTokens: 8192,
  reply: () => "y".repeat(4000),
  beforeToken: () => new Promise((resolve) => setImmediate(resolve)),
};

describe("a client that goes away", () => {
  it.each([true, false])("cancels its generation, streamed %s", async (stream) => {
    const { model, port } = await start({ ...SLOW, beforeToken: () => new Promise((r) => setTimeout(r, 5)) });
    const socket = await dial(port);
    socket.write(writePost("/v1/completions", { ...LONG, stream }));
    await until(() => model.running === 1);
    socket.destroy();
    await until(() => model.running === 0);
    expect(model).toMatchObject({ cancelled: 1, finished: 0 });
  });

  it("cancels its generation while that waits for a slot", async () => {
    const waits: FakeModelOptions = {
      beforeToken: (_index, signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
    };
    const { model, port } = await start(waits);
    const socket = await dial(port);
    socket.write(writePost("/v1/completions", { prompt: "x", n: 4, stream: true }));
    await until(() => model.running === 1);
    socket.destroy();
    await until(() => model.cancelled === 1);
    expect(model.requests).toHaveLength(1);
  });
});

describe("a slow reader", () => {
  it("is dropped, while its generation goes on to its end", async () => {
    const big = { ...SLOW, reply: () => "z".repeat(4000), contextTokens: 8192 };
    const { model, port } = await start(big, { limits: { stallMs: 300, readerBufferBytes: 4096 } });
    const socket = await dial(port);
    socket.pause();
    const prompts = Array.from({ length: 16 }, () => "x");
    socket.write(writePost("/v1/completions", { ...LONG, prompt: prompts, stream: true }));
    await until(() => model.running > 0);
    for (let i = 0; i < 200 && model.finished < 16; i++) await new Promise((resolve) => setTimeout(resolve, 100));
    expect(model).toMatchObject({ finished: 16, cancelled: 0 });
    const closed = once(socket, "close");
    socket.resume();
    await closed;
  }, 60_000);

  it("holds its generation back while it can still catch up, and gets all of it", async () => {
    const { model, port } = await start(SLOW, { limits: { stallMs: 30_000, readerBufferBytes: 1024 } });
    const socket = await dial(port);
    socket.pause();
    const body = { ...LONG, logprobs: 20, stream: true };
    socket.write(writePost("/v1/completions", body));
    await until(() => model.running === 1);
    await new Promise((resolve) => setTimeout(resolve, 200));
    socket.resume();
    let text = "";
    socket.on("data", (bytes: Buffer) => {
      text = (text + bytes.toString()).slice(-4096);
    });
    await until(() => text.includes("data: [DONE]"));
    expect(model).toMatchObject({ finished: 1, cancelled: 0 });
  });
});

describe("a silent stream", () => {
  it("gets comments, also while its request waits, and errors then come in the stream", async () => {
    let release: (() => void) | undefined;
    const waiting = new Promise<void>((resolve) => {
      release = resolve;
    });
    const { server, model } = await start({}, { limits: { pingMs: 20 } });
    model.options = { reply: () => "done", beforeToken: () => waiting };
    const body = JSON.stringify({ prompt: "x", max_tokens: 4, stream: true });
    const headers = { "content-type": "application/json" };
    const answer = await fetch(`${server.url}/v1/completions`, { method: "POST", headers, body });
    const reader = answer.body?.pipeThrough(new TextDecoderStream()).getReader();
    expect((await reader?.read())?.value).toContain(": ping\n\n");
    release?.();
    let text = "";
    for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) text += part.value;
    expect(text).toContain("data: [DONE]");
  });
});

describe("a connection that is no good", () => {
  const limits = { headersTimeoutMs: 300, requestTimeoutMs: 600, headerBytes: 4096, headers: 20, connections: 4 };

  it("that sends its headers or its body too slowly is ended with a word", async () => {
    const { port } = await start({}, { limits });
    const slowHeaders = await dial(port);
    slowHeaders.write("POST /v1/completions HTTP/1.1\r\nhost: localhost\r\nx-a: ");
    const slowBody = await dial(port);
    slowBody.write(writePost("/v1/completions", { prompt: "x" }).slice(0, -5));
    for (const text of await Promise.all([readAll(slowHeaders), readAll(slowBody)])) {
      expect(text).toMatch(/^HTTP\/1\.1 408 /);
      expect(text).toContain('"code":"request_timeout"');
    }
  });

  it("that floods with headers is refused, by bytes or by number", async () => {
    const { port } = await start({}, { limits });
    const bytes = await dial(port);
    bytes.write(`GET /live HTTP/1.1\r\nhost: localhost\r\nx-a: ${"a".repeat(8192)}\r\n\r\n`);
    expect(await readAll(bytes)).toMatch(/^HTTP\/1\.1 431 [\s\S]*"code":"headers_too_large"/);
    const number = await dial(port);
    const lines = Array.from({ length: 30 }, (_, i) => `x-${i}: a\r\n`).join("");
    number.write(`GET /live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n${lines}\r\n`);
    expect(await readAll(number)).toMatch(/^HTTP\/1\.1 431 [\s\S]*the limit is 20/);
  });

  it("that speaks no HTTP is told so", async () => {
    const { port } = await start({}, { limits });
    for (const bytes of [
      "\x16\x03\x01\x00garbage\r\n\r\n",
      "GET\r\n\r\n",
      "POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ]) {
      const socket = await dial(port);
      socket.write(bytes);
      expect(await readAll(socket)).toMatch(/^HTTP\/1\.1 400 [\s\S]*"code":"malformed_http"/);
    }
  });

  it("that is one too many is told when to come back", async () => {
    const { port } = await start({}, { limits: { ...limits, headersTimeoutMs: 10_000, requestTimeoutMs: 10_000 } });
    for (let i = 0; i < 4; i++) await dial(port);
    const extra = await dial(port);
    extra.write("GET /live HTTP/1.1\r\nhost: localhost\r\n\r\n");
    const text = await readAll(extra);
    expect(text).toMatch(/^HTTP\/1\.1 503 [\s\S]*"code":"too_many_connections"/);
    expect(text).toMatch(/retry-after: 1/i);
  });
});

describe("a server that stops", () => {
  it("lets what runs come to its end for a while, and cancels the rest", async () => {
    const { server, model, port } = await start({
      reply: () => "abc",
      beforeToken: () => new Promise((r) => setTimeout(r, 20)),
    });
    const quick = fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ prompt: "x", max_tokens: 3 }),
    });
    await until(() => model.running === 1);
    const closed = server.close(10_000);
    expect((await quick).status).toBe(200);
    await closed;
    await expect(dial(port)).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });

  it("does not wait for what takes longer than that", async () => {
    const { server, model, port } = await start(SLOW);
    const socket = await dial(port);
    socket.write(writePost("/v1/completions", { ...LONG, stream: true }));
    await until(() => model.running === 1);
    await server.close();
    await until(() => model.cancelled === 1);
    expect(model.running).toBe(0);
    await server.close();
  });

  it("says that its port is taken, and that an address is not its own", async () => {
    const { port } = await start({});
    const other = createApiServer();
    await expect(other.listen("127.0.0.1", port)).rejects.toMatchObject({ code: "PORT_IN_USE" });
    await other.close();
    const foreign = createApiServer();
    await expect(foreign.listen("203.0.113.1", 0)).rejects.toMatchObject({ code: "USAGE" });
    await foreign.close();
  });
});
