import { get } from "node:https";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createHash } from "node:crypto";
import { afterAll, describe, expect, it } from "vitest";
import { ClusterFolder } from "../security/index.ts";
import type { ApiServerOptions } from "./api-options.ts";
import { type ApiServer, createApiServer } from "./api-server.ts";
import { FakeServedModel } from "./testing.ts";

const servers: ApiServer[] = [];
afterAll(() => Promise.all(servers.map((server) => server.close())));

function start(options: ApiServerOptions = {}): ApiServer {
  const server = createApiServer({ models: [new FakeServedModel()], page: "<html></html>", ...options });
  servers.push(server);
  return server;
}

/** What the server really answers, from its own table: `GET /v1/models` and so on. */
function listRoutes(server: ApiServer): readonly { readonly method: "GET" | "POST"; readonly url: string }[] {
  const parts: string[] = [];
  // A tree: each line goes on where the one above it, one level less deep, has ended.
  return server.app
    .printRoutes({ commonPrefix: false })
    .split("\n")
    .flatMap((line) => {
      const [, branches = "", part = "", listed = ""] = /^([│├└─ ]*)(\S*)(?: \(([A-Z, ]+)\))?$/.exec(line) ?? [];
      const depth = Math.max(1, branches.length / 4);
      parts.splice(depth - 1, parts.length, part);
      const methods = listed.split(", ").filter((method) => method === "GET" || method === "POST");
      return methods.map((method) => ({ method, url: parts.join("").replace(/:\w+/g, "x") }));
    });
}

function hash(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

describe("with a key", () => {
  it("every route of the server asks for it but /live and /ready", async () => {
    const server = start({ apiKeys: ["the-only-key"] });
    await server.app.ready();
    const routes = listRoutes(server);
    expect(routes.length).toBeGreaterThan(15);
    for (const { method, url } of routes) {
      const answer = await server.app.inject({ method, url, ...(method === "POST" ? { payload: {} } : {}) });
      const isOpen = url === "/live" || url === "/ready";
      expect(answer.statusCode === 401, `${method} ${url}: ${answer.statusCode}`).toBe(!isOpen);
    }
  });

  it("the page takes it as the password that a browser asks for, and nothing else does", async () => {
    const server = start({ apiKeys: ["the-only-key"] });
    const basic = (password: string): string => `Basic ${Buffer.from(`me:${password}`).toString("base64")}`;
    const ask = async (url: string, authorization: string) =>
      (await server.app.inject({ method: "GET", url, headers: { authorization } })).statusCode;
    expect(await ask("/", basic("the-only-key"))).toBe(200);
    expect(await ask("/", basic("another-key"))).toBe(401);
    expect(await ask("/v1/models", basic("the-only-key"))).toBe(401);
    expect((await server.app.inject({ method: "GET", url: "/" })).headers["www-authenticate"]).toContain("Basic");
  });

  it("that is added or taken back counts from then on; taking back the last one opens nothing", async () => {
    const hashes: string[] = [];
    const server = start({ keyHashes: () => hashes });
    const ask = async (key: string) =>
      (await server.app.inject({ method: "GET", url: "/v1/models", headers: { "x-api-key": key } })).statusCode;
    expect(await ask("")).toBe(200);
    hashes.push(hash("first-key"), hash("second-key"));
    expect([await ask("first-key"), await ask("second-key"), await ask("third-key")]).toEqual([200, 200, 401]);
    hashes.shift();
    expect([await ask("first-key"), await ask("second-key")]).toEqual([401, 200]);
    hashes.shift();
    expect([await ask("second-key"), await ask("")]).toEqual([401, 401]);
  });
});

describe("a model's name", () => {
  it.each(["../../etc/passwd", "/etc/passwd", "..%2f..%2fetc%2fpasswd", "fake-model/../fake-model", "\u0000"])(
    "is looked up and never opened: %j",
    async (model) => {
      const server = start();
      const payload = { model, prompt: "x", max_tokens: 1 };
      const answer = await server.app.inject({ method: "POST", url: "/v1/completions", payload });
      expect(answer.json()).toMatchObject({ error: { code: "model_not_found" } });
      const url = `/v1/models/${encodeURIComponent(model)}`;
      expect((await server.app.inject({ method: "GET", url })).statusCode).toBe(404);
    },
  );
});

describe("over TLS", () => {
  it("answers with the certificate that was given, to whoever believes its authority", async () => {
    const root = mkdtempSync(join(tmpdir(), "noodle-api-"));
    try {
      const folder = await ClusterFolder.init(root, Date.now());
      const tls = await folder.makeServer(["localhost", "127.0.0.1", "::1"], Date.now());
      const server = start({ tls });
      await server.listen("127.0.0.1", 0);
      expect(server.url).toMatch(/^https:/);
      const ask = (ca: string | undefined): Promise<number | string | undefined> =>
        new Promise((resolve) => {
          get(`${server.url}/live`, { agent: false, ...(ca === undefined ? {} : { ca }) }, (response) => {
            response.resume();
            resolve(response.statusCode);
          }).on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
        });
      expect(await ask(folder.authorityPem)).toBe(200);
      expect(await ask(undefined)).not.toBe(200);
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  });
});
