import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { createApiServer } from "./api-server.ts";
import { ERROR_RESPONSE } from "./schemas/others.ts";
import { arbitraryBody } from "./testing-bodies.ts";
import { FakeServedModel } from "./testing.ts";

const model = new FakeServedModel({ reply: () => "some text" });
const server = createApiServer({ models: [model] });
afterAll(() => server.close());

interface Document {
  readonly paths: Record<string, Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>>;
}

const document = (await server.app.inject({ method: "GET", url: "/openapi.json" })).json<Document>();
const endpoints = Object.entries(document.paths).flatMap(([path, { post }]) => {
  const schema = post?.requestBody?.content["application/json"]?.schema;
  return schema === undefined ? [] : [[path, schema] as const];
});

describe("every endpoint that takes a body", () => {
  it("is found in the document", () => {
    expect(endpoints.map(([path]) => path).sort()).toEqual([
      "/apply-template",
      "/detokenize",
      "/tokenize",
      "/v1/chat/completions",
      "/v1/completions",
      "/v1/embeddings",
    ]);
  });

  it.each(endpoints)("POST %s answers whatever its schema makes, or says what is wrong", async (url, schema) => {
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(arbitraryBody(schema), async (body) => {
        const headers = { "content-type": "application/json" };
        const payload = Buffer.from(JSON.stringify(body));
        const answer = await server.app.inject({ method: "POST", url, headers, payload });
        seen.add(answer.statusCode);
        if (answer.statusCode === 200) return;
        expect([400, 404], answer.body).toContain(answer.statusCode);
        expect(ERROR_RESPONSE.parse(answer.json()).error.message).not.toBe("");
      }),
      { numRuns: 150, seed: 11 },
    );
    if (url !== "/v1/embeddings") expect(seen).toContain(200);
    expect(model.running).toBe(0);
  });
});
