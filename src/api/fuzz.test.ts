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

/** A document as bytes, with some of them changed, left out or put in. */
function arbitraryBytes(schema: object): fc.Arbitrary<Buffer> {
  const change = fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.uint8Array({ maxLength: 4 }), fc.nat(3));
  return fc.tuple(arbitraryBody(schema), fc.array(change, { minLength: 1, maxLength: 4 })).map(([body, changes]) =>
    changes.reduce<Buffer>(
      (bytes, [place, put, leftOut]) => {
        const at = Math.floor(place * bytes.length);
        return Buffer.concat([bytes.subarray(0, at), put, bytes.subarray(at + leftOut)]);
      },
      Buffer.from(JSON.stringify(body)),
    ),
  );
}

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

  it.each(endpoints)("POST %s answers bytes that are nearly such a document", async (url, schema) => {
    await fc.assert(
      fc.asyncProperty(arbitraryBytes(schema), async (payload) => {
        const headers = { "content-type": "application/json" };
        const answer = await server.app.inject({ method: "POST", url, headers, payload });
        if (answer.statusCode === 200) return;
        expect([400, 404], answer.body).toContain(answer.statusCode);
        expect(ERROR_RESPONSE.parse(answer.json()).error.message).not.toBe("");
      }),
      { numRuns: 60, seed: 12 },
    );
    expect(model.running).toBe(0);
  });
});

describe("every route that takes none", () => {
  const gets = Object.entries(document.paths).flatMap(([path, methods]) => ("get" in methods ? [path] : []));

  it.each(gets)("GET %s answers whatever stands behind it", async (path) => {
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: "binary", maxLength: 20 }), fc.webQueryParameters(), async (id, query) => {
        const place = path.replace("{id}", encodeURIComponent(id));
        for (const url of [`${place}?${query}`, `${place}?model=${encodeURIComponent(id)}`]) {
          const answer = await server.app.inject({ method: "GET", url });
          expect([200, 400, 404], answer.body).toContain(answer.statusCode);
        }
      }),
      { numRuns: 20, seed: 13 },
    );
  });
});
