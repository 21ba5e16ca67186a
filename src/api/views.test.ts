import { createHash } from "node:crypto";
import { Validator } from "@seriousme/openapi-schema-validator";
import { describe, expect, it } from "vitest";
import { createApiServer } from "./api-server.ts";
import * as schemas from "./schemas/others.ts";
import { FakeServedModel } from "./testing.ts";

describe("what there is to look at", () => {
  it("says that it waits before there is a model, and follows the model then", async () => {
    await using server = createApiServer();
    const get = (url: string) => server.app.inject({ method: "GET", url });
    expect((await get("/live")).json()).toEqual({ status: "alive" });
    const loading = await get("/health");
    expect(loading.statusCode).toBe(503);
    expect(schemas.HEALTH_LOADING.parse(loading.json()).error.message).toBe("Loading model");
    expect((await get("/ready")).statusCode).toBe(503);
    expect((await get("/v1/status")).statusCode).toBe(503);
    expect((await get("/v1/models")).json()).toEqual({ object: "list", data: [] });
    const early = await server.app.inject({ method: "POST", url: "/v1/completions", payload: { prompt: "x" } });
    expect(early.statusCode).toBe(503);
    expect(early.json()).toMatchObject({ error: { code: "cluster_not_ready" } });

    const model = new FakeServedModel();
    server.serve([model]);
    for (const url of ["/health", "/v1/health"]) expect((await get(url)).json()).toEqual({ status: "ok" });
    expect((await get("/ready")).json()).toEqual({ status: "ready", reason: null });
    expect((await get("/v1/status")).json()).toEqual({ schema: "noodle.status.v1", model: "fake-model" });
    model.readiness_ = { status: "waiting", reason: "1 of 2 workers" };
    expect((await get("/health")).statusCode).toBe(503);
    expect((await get("/ready")).json()).toEqual({ status: "waiting", reason: "1 of 2 workers" });
  });

  it("is ready when every model has been loaded", async () => {
    await using server = createApiServer({ expectedModels: ["a", "b"] });
    const status = async (): Promise<number> => (await server.app.inject({ method: "GET", url: "/ready" })).statusCode;
    const a = new FakeServedModel({ id: "a" });
    server.serve([a]);
    expect(await status()).toBe(503);
    server.serve([a, new FakeServedModel({ id: "b" })]);
    expect(await status()).toBe(200);
    a.readiness_ = { status: "failed", reason: "a worker is gone" };
    expect(await status()).toBe(200);
  });

  it("lists several models, and asks which one is meant", async () => {
    const models = [new FakeServedModel({ id: "a" }), new FakeServedModel({ id: "org/b" })];
    await using server = createApiServer({ models });
    const get = (url: string) => server.app.inject({ method: "GET", url });
    const list = schemas.MODEL_LIST.parse((await get("/v1/models")).json());
    expect(list.data.map(({ id }) => id)).toEqual(["a", "org/b"]);
    expect(schemas.MODEL.parse((await get("/v1/models/org%2Fb")).json()).id).toBe("org/b");
    expect((await get("/v1/models/c")).statusCode).toBe(404);
    expect((await get("/v1/status?model=org/b")).json()).toMatchObject({ model: "org/b" });
    const info = schemas.TOKENIZER_INFO.parse((await get("/tokenizer_info?model=a")).json());
    expect(info).toMatchObject({ bos_token: "<|begin|>", eos_token: "<|im_end|>", vocab_size: 259 });
    const post = (payload: object) => server.app.inject({ method: "POST", url: "/v1/completions", payload });
    expect((await post({ prompt: "x" })).json()).toMatchObject({ error: { param: "model" } });
    expect((await post({ prompt: "x", model: "org/b" })).json()).toMatchObject({ model: "org/b" });
    expect(models.map(({ requests }) => requests.length)).toEqual([0, 1]);
    expect(() => server.serve([...models, ...models])).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it("has metrics and a page where somebody gave them", async () => {
    await using bare = createApiServer();
    for (const url of ["/metrics", "/"]) expect((await bare.app.inject({ method: "GET", url })).statusCode).toBe(404);
    const page = "<html><style>b{}</style><script>let a = 1;</script></html>";
    await using server = createApiServer({ page });
    server.showMetrics({ contentType: "text/plain; version=0.0.4", render: async () => "steps 1\n" });
    const metrics = await server.app.inject({ method: "GET", url: "/metrics" });
    expect([metrics.body, metrics.headers["content-type"]]).toEqual(["steps 1\n", "text/plain; version=0.0.4"]);
    const shown = await server.app.inject({ method: "GET", url: "/" });
    expect(shown.body).toBe(page);
    const script = createHash("sha256").update("let a = 1;").digest("base64");
    expect(shown.headers["content-security-policy"]).toContain(`script-src 'sha256-${script}'`);
    expect(shown.headers["content-security-policy"]).toContain("default-src 'none'");
  });

  it("answers for tokens in the fields of both servers that clients know", async () => {
    await using server = createApiServer({ models: [new FakeServedModel()] });
    const post = async (url: string, payload: object): Promise<unknown> =>
      (await server.app.inject({ method: "POST", url, payload })).json();
    expect(await post("/tokenize", { prompt: "Hi" })).toMatchObject({ tokens: [256, 72, 105], count: 3 });
    expect(await post("/tokenize", { prompt: "Hi", add_special_tokens: false })).toMatchObject({ tokens: [72, 105] });
    expect(await post("/tokenize", { content: "Hi" })).toMatchObject({ tokens: [72, 105] });
    expect(await post("/tokenize", { content: "<|im_end|>", parse_special: false })).toMatchObject({ count: 10 });
    expect(await post("/tokenize", { content: "é", with_pieces: true })).toMatchObject({
      tokens: [
        { id: 0xc3, piece: [0xc3] },
        { id: 0xa9, piece: [0xa9] },
      ],
    });
    expect(await post("/detokenize", { tokens: [72, 105, 257] })).toEqual({
      prompt: "Hi<|im_end|>",
      content: "Hi<|im_end|>",
    });
    expect(await post("/detokenize", { tokens: [1000] })).toMatchObject({ error: { param: "tokens" } });
  });
});

describe("the OpenAPI document", () => {
  it("is valid, and has exactly the routes that are there", async () => {
    await using server = createApiServer({ models: [new FakeServedModel()], version: "1.2.3" });
    const document = (await server.app.inject({ method: "GET", url: "/openapi.json" })).json<{
      info: { version: string };
      paths: Record<string, Record<string, unknown>>;
    }>();
    expect(await new Validator().validate(structuredClone(document))).toMatchObject({ valid: true });
    expect(document.info.version).toBe("1.2.3");
    const documented = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")}`),
    );
    for (const route of documented) {
      const [method = "", url = ""] = route.split(" ");
      expect(server.app.hasRoute({ method, url }), route).toBe(true);
    }
    const printed = server.app.printRoutes({ commonPrefix: false, includeHooks: false });
    const registered = [...printed.matchAll(/\(([A-Z, ]+)\)/g)].flatMap(([, methods]) =>
      (methods ?? "").split(", ").filter((method) => method !== "HEAD"),
    );
    expect(registered).toHaveLength(documented.length);
  });
});
