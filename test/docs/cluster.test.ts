import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { clusterSchema, readCluster } from "../../src/placement/index.ts";

const DOC = readFileSync(new URL("../../docs/cluster.md", import.meta.url), "utf8");

/** Every key of the schema as the document writes it: the path without the list that a table is about. */
function listKeys(schema: unknown, path = ""): string[] {
  const { def, shape, element, unwrap } = schema as {
    def: { type: string };
    shape?: Record<string, unknown>;
    element?: unknown;
    unwrap?: () => unknown;
  };
  if (def.type === "optional" && unwrap !== undefined)
    return listKeys((schema as { unwrap(): unknown }).unwrap(), path);
  if (def.type === "array" && element !== undefined) {
    const inner = listKeys(element, `${path}[]`);
    return inner.length > 0 ? inner : [`${path}[]`];
  }
  if (def.type !== "object" || shape === undefined) return [path];
  return [
    ...(path === "" ? [] : [path]),
    ...Object.entries(shape).flatMap(([key, child]) => listKeys(child, path === "" ? key : `${path}.${key}`)),
  ];
}

/** First cells of the tables. */
const DOCUMENTED = [...DOC.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell = ""]) =>
  [...cell.matchAll(/`([^`]+)`/g)].map(([, key = ""]) => key),
);

/** `nodes[].scale.decode` stands as `scale.decode` in the table of nodes, a link's fields once for all links. */
function shorten(key: string): string {
  const short = key.replace(/^nodes\[\]\./, "").replace(/^links\./, "");
  return short.replace(/^(default|pairs\[\])\.(latency_ms|bandwidth|jitter_ms|loss|loss_burst_ms)$/, "$2");
}

/** A list of plain values may be written with or without its brackets. */
const bare = (key: string): string => key.replace(/\[\]$/, "");

test("docs/cluster.md describes every key of the file, and no other", () => {
  const keys = new Set(listKeys(clusterSchema).map(shorten).map(bare));
  expect([...new Set(DOCUMENTED.map(bare))].sort()).toEqual([...keys].sort());
});

test("examples/cluster.yaml can be read, and is the one that the document plans", () => {
  const cluster = readCluster(readFileSync(new URL("../../examples/cluster.yaml", import.meta.url), "utf8"));
  expect(cluster.nodes.length).toBeGreaterThanOrEqual(3);
  expect(DOC).toContain("--cluster examples/cluster.yaml");
});
