import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createApiServer, DEFAULT_LIMITS } from "../../src/api/index.ts";
import { HTTP_FAULTS } from "../../src/api/http-fault.ts";

const text = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");

/** First cells of the tables of a section, without their mark, and the cells behind. */
function readTable(section: string): Map<string, string[]> {
  const start = text.indexOf(`\n## ${section}\n`);
  expect(start, section).toBeGreaterThan(0);
  const end = text.indexOf("\n## ", start + 5);
  const body = text.slice(start, end === -1 ? undefined : end);
  const rows = body.split("\n").filter((line) => line.startsWith("| `"));
  const cells = rows.map((row) => row.slice(2, -2).split(/ \| /));
  const named = cells.map(([name = "", ...rest]) => [/`([^`]+)`/.exec(name)?.[1] ?? "", rest] as const);
  expect(new Set(named.map(([name]) => name)).size).toBe(named.length);
  return new Map(named);
}

interface Operation {
  readonly security: object[];
  readonly requestBody?: { readonly content: Record<string, { schema: { properties: object } }> };
}

const server = createApiServer();
const document = (await server.app.inject({ method: "GET", url: "/openapi.json" })).json<{
  paths: Record<string, Record<string, Operation>>;
}>();
await server.close();

const operations = new Map<string, Operation>(
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [`${method.toUpperCase()} ${path}`, operation] as const),
  ),
);

function fieldsOf(route: string): string[] {
  const content = operations.get(route)?.requestBody?.content["application/json"];
  return Object.keys(content?.schema.properties ?? {}).sort();
}

describe("docs/api.md", () => {
  test("has every route, whether it asks for a key, and no other", () => {
    const rows = readTable("Routes");
    expect([...rows.keys()].sort()).toEqual([...operations.keys()].sort());
    for (const [route, cells] of rows) {
      expect(cells.at(-1), route).toBe(operations.get(route)?.security.length === 0 ? "no" : "yes");
    }
  });

  test.each(["/v1/completions", "/v1/chat/completions"])("has every field of POST %s, and no other", (path) => {
    const common = [...readTable("Fields of both completions").keys()];
    const own = [...readTable(`POST ${path}`).keys()];
    expect([...common, ...own].sort()).toEqual(fieldsOf(`POST ${path}`));
  });

  test("has the fields of the other requests", () => {
    const table = readTable("Other requests");
    expect([...table.keys()].sort()).toEqual(fieldsOf("POST /tokenize"));
    const words = text.slice(text.indexOf("## Other requests"), text.indexOf("## Limits"));
    for (const route of ["POST /detokenize", "POST /apply-template"]) {
      const sentence = words.slice(words.indexOf(`\`${route}\` takes`)).split(" and answers")[0] ?? "";
      const named = [...sentence.matchAll(/`(\w+)`/g)].map((match) => match[1] ?? "");
      expect(named.toSorted(), route).toEqual(fieldsOf(route));
    }
  });

  test("has every limit with its default, and no other", () => {
    const rows = [...readTable("Limits")].map(([name, cells]) => [name, Number(cells[0])]);
    expect(Object.fromEntries(rows)).toEqual(DEFAULT_LIMITS);
  });

  test("has the errors that only HTTP knows, with their status", () => {
    const rows = [...readTable("Errors")].map(([code, cells]) => [code, Number(cells[0])]);
    expect(Object.fromEntries(rows)).toEqual(HTTP_FAULTS);
  });
});
