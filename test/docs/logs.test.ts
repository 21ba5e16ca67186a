import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { must } from "../../src/common/index.ts";
import { LOG_SCHEMAS, LOG_STREAMS } from "../../src/logs/index.ts";

type Node = z.core.JSONSchema.BaseSchema;

const text = readFileSync(new URL("../../docs/logs.md", import.meta.url), "utf8");
const COMMON = ["schema", "seq", "mono_ns", "time_unix_ns", "run_id", "producer_id", "event_type"];

/** Keys and what the schema says of them: `stages[].queue_ns` for one within a list. */
function listKeys(node: Node, prefix = ""): [string, string][] {
  const inner = node.anyOf?.map(asNode).find((option) => option.type !== "null") ?? node;
  const found: [string, string][] = [];
  for (const [name, value] of Object.entries(inner.properties ?? {})) {
    const property = asNode(value);
    const option = property.anyOf?.map(asNode).find(({ type }) => type !== "null");
    const words = property.description ?? option?.description ?? "";
    const key = `${prefix}${name}`;
    found.push([key, words]);
    const body = option ?? property;
    if (body.type === "object") found.push(...listKeys(body, `${key}.`));
    if (body.type === "array") found.push(...listKeys(asNode(body.items as Node), `${key}[].`));
  }
  return found;
}

function asNode(value: boolean | Node): Node {
  return typeof value === "boolean" ? {} : value;
}

/** The alternatives of a stream's lines: its header, then its rows. */
function listAlternatives(stream: string): readonly Node[] {
  const schema = z.toJSONSchema(must(LOG_SCHEMAS[`noodle.${stream}.v1`], "schema")) as Node;
  return (schema.oneOf ?? schema.anyOf ?? []).map(asNode);
}

/** Rows of the tables under a heading of the third level. */
function readTable(heading: string): Map<string, string> {
  const section = must(
    text.split(/^### /m).find((part) => part.startsWith(`${heading}\n`)),
    `section ${heading}`,
  );
  const rows = [...must(section.split(/^## /m)[0], "section").matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)];
  return new Map(rows.map((row) => [row[1] ?? "", row[2] ?? ""]));
}

function withoutCommon(keys: readonly [string, string][]): Map<string, string> {
  return new Map(keys.filter(([key]) => !COMMON.includes(key)));
}

describe("docs/logs.md", () => {
  test("lists the keys of every row as the schemas have them", () => {
    const [, row] = listAlternatives("step");
    const common = new Map(listKeys(must(row, "row")).filter(([key]) => COMMON.includes(key)));
    common.set("event_type", must(readTable("Every row").get("event_type"), "event_type"));
    expect(readTable("Every row")).toEqual(common);
  });

  test("lists the keys of the header as the schemas have them", () => {
    const [header] = listAlternatives("step");
    expect(readTable("Header")).toEqual(withoutCommon(listKeys(must(header, "header"))));
  });

  test.each(LOG_STREAMS)("lists the keys of stream %s as its schema has them", (stream) => {
    const keys = listAlternatives(stream)
      .slice(1)
      .flatMap((row) => listKeys(row));
    expect(readTable(`\`${stream}\``)).toEqual(withoutCommon(keys));
  });

  test("has no section of a stream that does not exist", () => {
    const named = [...text.matchAll(/^### `([a-z]+)`$/gm)].map((match) => match[1]);
    expect(named).toEqual([...LOG_STREAMS]);
  });
});
