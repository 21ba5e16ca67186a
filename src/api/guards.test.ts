import { afterAll, describe, expect, it } from "vitest";
import type { ApiServerOptions } from "./api-options.ts";
import { type ApiServer, createApiServer } from "./api-server.ts";
import { FakeServedModel } from "./testing.ts";

const servers: ApiServer[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close())));

function start(options: ApiServerOptions = {}): { server: ApiServer; model: FakeServedModel } {
  const model = new FakeServedModel();
  const server = createApiServer({ models: [model], ...options });
  servers.push(server);
  return { server, model };
}

const COMPLETION = { method: "POST", url: "/v1/completions", payload: { prompt: "x", max_tokens: 1 } } as const;

describe("keys", () => {
  const { server, model } = start({ apiKeys: ["first-key", "second-key"], page: "<html></html>" });
  const ask = (url: string, headers: Record<string, string> = {}) => server.app.inject({ method: "GET", url, headers });

  it("are asked for by every route but the open ones", async () => {
    for (const url of ["/live", "/ready"]) expect((await ask(url)).statusCode, url).toBe(200);
    const closed = [
      "/v1/models",
      "/v1/models/x",
      "/health",
      "/v1/status",
      "/metrics",
      "/openapi.json",
      "/tokenizer_info",
    ];
    for (const url of closed) {
      const answer = await ask(url);
      expect(answer.statusCode, url).toBe(401);
      expect(answer.json()).toMatchObject({ error: { type: "authentication_error", code: "invalid_api_key" } });
      expect(answer.headers["www-authenticate"]).toBe("Bearer");
    }
    for (const url of ["/v1/completions", "/v1/chat/completions", "/v1/embeddings", "/tokenize", "/detokenize"]) {
      const answer = await server.app.inject({
        method: "POST",
        url,
        payload: "no json",
        headers: { "content-type": "x/y" },
      });
      expect(answer.statusCode, url).toBe(401);
    }
  });

  it("come as a bearer or in a header of their own; any other is refused", async () => {
    expect((await ask("/v1/models", { authorization: "Bearer first-key" })).statusCode).toBe(200);
    expect((await ask("/v1/models", { authorization: "bearer second-key" })).statusCode).toBe(200);
    expect((await ask("/v1/models", { "x-api-key": "second-key" })).statusCode).toBe(200);
    for (const key of ["third-key", "first-ke", "first-key1", "", "first-key second-key"]) {
      expect((await ask("/v1/models", { authorization: `Bearer ${key}` })).statusCode).toBe(401);
    }
    expect((await ask("/v1/models", { authorization: "Basic first-key" })).statusCode).toBe(401);
  });

  it("make clients: each key is another one, and no client learns a key", async () => {
    for (const key of ["first-key", "second-key", "first-key"]) {
      await server.app.inject({ ...COMPLETION, headers: { "x-api-key": key } });
    }
    const clients = model.requests.map(({ client }) => client);
    expect(clients[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(clients[2]).toBe(clients[0]);
    expect(clients[1]).not.toBe(clients[0]);
    const open = start();
    await open.server.app.inject(COMPLETION);
    expect(open.model.requests[0]?.client).toBe("");
  });
});

describe("a request's name", () => {
  it("is the client's where it is one, and otherwise a new one", async () => {
    const { server } = start();
    const ask = async (id: string): Promise<unknown> =>
      (await server.app.inject({ method: "GET", url: "/live", headers: { "x-request-id": id } })).headers[
        "x-request-id"
      ];
    expect(await ask("mine-1.2_3")).toBe("mine-1.2_3");
    for (const id of ["", "a b", "x".repeat(65), "é"]) expect(await ask(id)).toMatch(/^req_[0-9a-f]{24}$/);
    const failed = await server.app.inject({ method: "GET", url: "/nowhere" });
    expect(failed.headers["x-request-id"]).toMatch(/^req_/);
    const stream = await server.app.inject({ ...COMPLETION, payload: { prompt: "x", stream: true } });
    expect(stream.headers["x-request-id"]).toMatch(/^req_/);
  });
});

describe("other origins and hosts", () => {
  it("may read answers only when they are listed", async () => {
    const { server } = start({ corsOrigins: ["http://ui.test"] });
    const ask = (origin: string, method: "GET" | "OPTIONS" = "GET") =>
      server.app.inject({ method, url: "/v1/models", headers: { origin } });
    expect((await ask("http://ui.test")).headers["access-control-allow-origin"]).toBe("http://ui.test");
    expect((await ask("http://evil.test")).headers["access-control-allow-origin"]).toBeUndefined();
    const preflight = await ask("http://ui.test", "OPTIONS");
    expect(preflight.statusCode).toBe(204);
    expect(preflight.headers["access-control-allow-methods"]).toContain("POST");
    expect((await ask("http://evil.test", "OPTIONS")).statusCode).toBe(405);
    const stream = { ...COMPLETION, payload: { prompt: "x", stream: true }, headers: { origin: "http://ui.test" } };
    expect((await server.app.inject(stream)).headers["access-control-allow-origin"]).toBe("http://ui.test");
  });

  it("are refused over loopback when the host is not this machine's or an allowed one", async () => {
    const { server } = start({ allowedHosts: ["Noodle.Home"] });
    await server.listen("127.0.0.1", 0);
    const port = new URL(server.url).port;
    const { request } = await import("node:http");
    const ask = (host: string): Promise<number | undefined> =>
      new Promise((resolve, reject) => {
        request({ port, host: "127.0.0.1", path: "/live", headers: { host }, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode);
        })
          .on("error", reject)
          .end();
      });
    for (const host of [`localhost:${port}`, "127.0.0.1", `[::1]:${port}`, "a.localhost", "noodle.home:80"]) {
      expect(await ask(host), host).toBe(200);
    }
    for (const host of ["evil.test", "127.0.0.1.evil.test", "localhost.evil.test:80"]) {
      expect(await ask(host), host).toBe(403);
    }
  });
});

describe("paths and methods", () => {
  it("that are not there are told so in the usual form", async () => {
    const { server } = start();
    const missing = await server.app.inject({ method: "GET", url: "/v1/nothing?x=1" });
    expect(missing.statusCode).toBe(404);
    expect(missing.json()).toMatchObject({ error: { code: "route_not_found", type: "not_found_error" } });
    const wrong = await server.app.inject({ method: "GET", url: "/v1/completions" });
    expect([wrong.statusCode, wrong.headers["allow"]]).toEqual([405, "POST"]);
    const put = await server.app.inject({ method: "PUT", url: "/v1/models" });
    expect([put.statusCode, put.headers["allow"]]).toEqual([405, "GET, HEAD"]);
    const bad = await server.app.inject({ method: "GET", url: "/v1/models/%zz" });
    expect(bad.statusCode).toBe(400);
    expect(bad.json()).toMatchObject({ error: { code: "malformed_http" } });
    expect((await server.app.inject({ method: "GET", url: "/../../etc/passwd" })).statusCode).toBe(404);
  });
});
