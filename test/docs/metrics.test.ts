import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { MAX_SERIES, type MetricDefinition, METRICS } from "../../src/metrics/index.ts";
import { ERROR_TYPE, GEN_AI, NOODLE, SPAN } from "../../src/telemetry/names.ts";

const text = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
const definitions = Object.entries<MetricDefinition>(METRICS);
const rows = [...text.matchAll(/^\| `(noodle_[a-z0-9_]+)` \|(.+)\|$/gm)].map((match) => ({
  name: match[1] ?? "",
  cells: (match[2] ?? "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|")),
}));

describe("docs/metrics.md", () => {
  test.each(definitions)("has the row of %s as the table in the code has it", (name, definition) => {
    const [type, labels, unit, owners, help, formula] = rows.find((row) => row.name === name)?.cells ?? [];
    expect({ type, labels, unit, owners, help, formula }).toEqual({
      type: definition.type,
      labels: definition.labels.map((label) => `\`${label}\``).join(", ") || "none",
      unit: definition.unit,
      owners: definition.owners.join(", "),
      help: definition.help,
      formula: definition.formula,
    });
  });

  test("documents no metric that does not exist, and none twice", () => {
    expect(rows.map((row) => row.name).sort()).toEqual(definitions.map(([name]) => name).sort());
  });

  test("names no metric in its prose that does not exist", () => {
    const named = [...text.matchAll(/\bnoodle_[a-z0-9_]+/g)].map(([name]) => name.replace(/_(bucket|sum|count)$/, ""));
    expect(named.filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
  });

  test("lists the buckets of each histogram", () => {
    const documented = [...text.matchAll(/^\| `([a-z0-9_]+)` buckets \| (.+) \|$/gm)].map((match) => [
      match[1],
      match[2],
    ]);
    const wanted = definitions.flatMap(([name, { buckets }]) =>
      buckets === undefined ? [] : [[name, buckets.join(" ")]],
    );
    expect(documented).toEqual(wanted);
  });

  test("lists every span and attribute that is sent, and no other", () => {
    const spans = text.slice(text.indexOf("## Spans"));
    const documented = spans.split("\n").flatMap((line) => {
      const cell = /^\| (`.+?`) \|/.exec(line)?.[1] ?? "";
      return [...cell.matchAll(/`((?:noodle|gen_ai|error)\.[a-z_.]+)`/g)].map((match) => match[1] ?? "");
    });
    const sent = [...Object.values(GEN_AI), ...Object.values(NOODLE), ...Object.values(SPAN), ERROR_TYPE];
    expect(documented.sort()).toEqual(sent.sort());
  });

  test("says how many label sets a metric may have", () => {
    expect(text).toContain(`at most ${MAX_SERIES} label sets`);
  });
});
