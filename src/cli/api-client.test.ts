import { createServer } from "node:net";
import { expect, test } from "vitest";
import { ApiClient, readApiUrl } from "./api-client.ts";
import { describeError, openEvents, sendEvent, sendJson, startFakeApi } from "./testing-api.ts";

const { signal } = new AbortController();

async function collect(chunks: AsyncIterable<unknown>): Promise<readonly unknown[]> {
  const found: unknown[] = [];
  for await (const chunk of chunks) found.push(chunk);
  return found;
}

test("an address is a URL, a host with a port, or a host alone", () => {
  expect(readApiUrl("http://box:1/below", "--url").href).toBe("http://box:1/below/");
  expect(readApiUrl("box:81", "--url").href).toBe("http://box:81/");
  expect(readApiUrl("[::1]", "--url").href).toBe("http://[::1]:7420/");
  expect(() => readApiUrl("ftp://box", "--url")).toThrow(expect.objectContaining({ code: "USAGE" }));
});

test("answers come with status, request id and time to wait; the key travels as bearer", async () => {
  await using api = await startFakeApi(({ path }, response) =>
    sendJson(response, path === "/v1/models" ? 200 : 429, { path }, { "x-request-id": "r1", "retry-after": "3" }),
  );
  const client = new ApiClient(api.url, "secret");
  expect(await client.call("GET", "v1/models", undefined, signal)).toEqual({
    status: 200,
    requestId: "r1",
    retryAfterMs: 3000,
    body: { path: "/v1/models" },
  });
  expect((await client.call("POST", "v1/completions", { a: 1 }, signal)).status).toBe(429);
  expect(api.calls.map(({ key, body }) => ({ key, body }))).toEqual([
    { key: "secret", body: {} },
    { key: "secret", body: { a: 1 } },
  ]);
  client.close();
});

test("an error of the API is an error of ours, by its code or else by its status", async () => {
  await using api = await startFakeApi(({ path }, response) =>
    path === "/named"
      ? sendJson(response, 400, describeError("template_failed", "no template"))
      : sendJson(response, 503, { error: { message: "loading" } }),
  );
  const client = new ApiClient(api.url);
  await expect(client.ask("GET", "named", undefined, signal)).rejects.toMatchObject({ code: "TEMPLATE_FAILED" });
  await expect(collect(client.stream("other", {}, signal))).rejects.toMatchObject({ code: "CLUSTER_NOT_READY" });
  client.close();
});

test("a stream ends at its mark; without it, it was broken off", async () => {
  await using api = await startFakeApi(({ path, body }, response) => {
    expect(body["stream"]).toBe(true);
    openEvents(response);
    sendEvent(response, { n: 1 });
    if (path === "/whole") sendEvent(response, "[DONE]");
    if (path === "/failed") sendEvent(response, describeError("PEER_DEAD", "a stage is gone"));
    response.end();
  });
  const client = new ApiClient(api.url);
  expect(await collect(client.stream("whole", {}, signal))).toEqual([{ n: 1 }]);
  await expect(collect(client.stream("broken", {}, signal))).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  await expect(collect(client.stream("failed", {}, signal))).rejects.toMatchObject({ code: "PEER_DEAD" });
  client.close();
});

test("who stops reading, or aborts, ends the request", async () => {
  await using api = await startFakeApi((_, response) => {
    openEvents(response);
    sendEvent(response, { n: 1 });
  });
  const client = new ApiClient(api.url);
  for await (const chunk of client.stream("a", {}, signal)) {
    expect(chunk).toEqual({ n: 1 });
    break;
  }
  await expect.poll(api.left).toBe(1);
  const abort = new AbortController();
  const reason = new Error("enough");
  const reading = (async () => {
    for await (const _ of client.stream("b", {}, abort.signal)) abort.abort(reason);
  })();
  await expect(reading).rejects.toBe(reason);
  await expect.poll(api.left).toBe(2);
  client.close();
});

test("a peer that is not there, speaks something else, or answers no JSON is told apart", async () => {
  const other = createServer((socket) => socket.resume().end("\u0000\u0000\u0012\u0004\u0000"));
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  const bound = other.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  const ask = (url: URL): Promise<unknown> => new ApiClient(url).ask("GET", "v1/models", undefined, signal);
  await expect(ask(new URL(`http://127.0.0.1:${port}/`))).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
  await new Promise<void>((resolve) => other.close(() => resolve()));
  await expect(ask(new URL(`http://127.0.0.1:${port}/`))).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  await using api = await startFakeApi((_, response) => void response.end("<html>"));
  await expect(ask(api.url)).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
});
