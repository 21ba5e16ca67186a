import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { NoodleError } from "../common/index.ts";
import { findLink } from "./links.ts";
import { readCluster } from "./read-cluster.ts";

const WHOLE = `schema: noodle/v1
name: home
coordinator: desk
nodes:
  - name: desk
    address: 10.0.0.5:7422
    profile: desk.json
    memory: 12GiB
    overhead_ms: 0.1
  - name: old
    profile: desk.json
    scale: {decode: 2.5, prefill: 3}
  - name: box
    count: 2
    memory: 500MB
    hardware: {memory_gb_per_s: 50, compute_gflops: 400, devices: 2, calibrate: [desk.json]}
links:
  default: {latency_ms: 0.2, bandwidth: 1Gbit/s}
  pairs:
    - between: [desk, old]
      latency_ms: 3
      bandwidth: 100Mbit/s
      jitter_ms: 1
      loss: 0.01
      loss_burst_ms: 20
    - from: box-1
      to: box-2
      latency_ms: 0.05
      bandwidth: 10e9
slowdowns:
  - {node: old, factor: 2, from_s: 10, until_s: 20, every_s: 60}
  - {link: [desk, old], factor: 10, from_s: 30}
failures:
  - {node: box-2, at_s: 40, back_after_s: 5}
`;

function failOf(text: string): NoodleError {
  try {
    readCluster(text);
  } catch (error) {
    if (error instanceof NoodleError) return error;
  }
  throw new Error("it was read");
}

/** Line and column, counted from 1, of a word in the text. */
function placeOf(text: string, word: string): { line: number; column: number } {
  const before = text.slice(0, text.indexOf(word)).split("\n");
  return { line: before.length, column: (before.at(-1) ?? "").length + 1 };
}

describe("a cluster's file", () => {
  test("is read with defaults filled in and units converted", () => {
    const cluster = readCluster(WHOLE);
    expect(cluster.nodes.map((node) => [node.name, node.kind, node.memoryBytes])).toEqual([
      ["desk", "real", 12 * 2 ** 30],
      ["old", "virtual", null],
      ["box-1", "virtual", 5e8],
      ["box-2", "virtual", 5e8],
    ]);
    expect(cluster.nodes[1]?.costs).toEqual({
      type: "profile",
      profile: "desk.json",
      scale: { decode: 2.5, prefill: 3 },
    });
    expect(findLink(cluster, "old", "desk")).toEqual({
      latencyMs: 3,
      bytesPerMs: 12_500,
      jitterMs: 1,
      lossRatio: 0.01,
      lossBurstMs: 20,
    });
    expect(findLink(cluster, "box-1", "box-2").bytesPerMs).toBe(1.25e6);
    expect(findLink(cluster, "box-2", "box-1")).toEqual(cluster.links.default);
    expect(findLink(cluster, "desk", "desk").latencyMs).toBe(0);
    expect(cluster.slowdowns).toEqual([
      { target: { type: "node", node: "old" }, factor: 2, fromS: 10, untilS: 20, everyS: 60 },
      { target: { type: "link", from: "desk", to: "old" }, factor: 10, fromS: 30, untilS: null, everyS: null },
    ]);
    expect(cluster.failures).toEqual([{ node: "box-2", atS: 40, backAfterS: 5 }]);
  });

  test("may be JSON, and without links hops cost nothing", () => {
    const cluster = readCluster(JSON.stringify({ schema: "noodle/v1", nodes: [{ name: "a", profile: "a.json" }] }));
    expect(cluster.links.default.latencyMs).toBe(0);
    expect(cluster.coordinator).toBeNull();
  });

  test.each([
    ["an unknown key", "memory: 12GiB", "memroy: 12GiB", "memroy", "memory"],
    ["an unknown key of a link", "jitter_ms: 1", "jiter_ms: 1", "jiter_ms", "jitter_ms"],
    ["an unknown key at the top", "failures:", "failure:", "failure:", "failures"],
    ["a node that there is not", "coordinator: desk", "coordinator: dsk", "dsk", '"desk"'],
  ])("with %s is refused with the nearest known one", (_what, before, after, word, nearest) => {
    const text = WHOLE.replace(before, after);
    const error = failOf(text);
    expect(error.code).toBe("CLUSTER_INVALID");
    expect(error.message).toContain(nearest);
    expect(error.details).toMatchObject(placeOf(text, word));
  });

  test.each([
    ["a name twice", "name: old", "name: desk"],
    ["a name that count makes twice", "name: old", "name: box-1"],
    ["a name with a space", "name: old", "name: my pc"],
    ["a negative latency", "latency_ms: 0.2", "latency_ms: -1"],
    ["an endless latency", "latency_ms: 0.2", "latency_ms: .inf"],
    ["no latency", "latency_ms: 0.2, ", ""],
    ["a bandwidth of nothing", "1Gbit/s", "0Gbit/s"],
    ["a bandwidth without unit", "1Gbit/s", "1G"],
    ["a size that is none", "12GiB", "a lot"],
    ["a negative size", "12GiB", "-5"],
    ["an absurd size", "12GiB", "9999TiB"],
    ["a size too small", "12GiB", "12B"],
    ["a scale of 0", "decode: 2.5", "decode: 0"],
    ["more than half of everything lost", "loss: 0.01", "loss: 0.9"],
    ["bandwidth of memory below 0", "memory_gb_per_s: 50", "memory_gb_per_s: -50"],
    ["no devices", "devices: 2", "devices: 0"],
    ["a profile and a data sheet", "count: 2", "profile: x.json"],
    ["an address of an imagined machine", "count: 2", "address: 10.0.0.9:1"],
    ["a count of a machine with an address", "profile: desk.json\n    memory", "count: 2\n    memory"],
    ["a scale without profile", "    profile: desk.json\n    scale", "    scale"],
    ["a link to itself", "between: [desk, old]", "between: [desk, desk]"],
    ["a link twice", "from: box-1\n      to: box-2", "from: old\n      to: desk"],
    ["half a link", "from: box-1\n      to: box-2", "from: box-1"],
    ["a pair of three", "between: [desk, old]", "between: [desk, old, box-1]"],
    ["a slowdown of nothing", "node: old, factor", "factor"],
    ["a slowdown that ends before it begins", "until_s: 20", "until_s: 5"],
    ["a slowdown that begins again too soon", "every_s: 60", "every_s: 5"],
    ["a failure of an unknown node", "node: box-2, at_s", "node: box-9, at_s"],
    ["another schema", "noodle/v1", "noodle/v2"],
    ["a node with no costs at all", "    profile: desk.json\n    scale: {decode: 2.5, prefill: 3}\n", ""],
    ["a key twice", "name: home", "name: home\nname: home"],
    ["a tag", "name: home", "name: !!js/function home"],
    ["a key that is no word", "name: home", "? [a]\n: b"],
    ["a key that objects keep for themselves", "name: home", "__proto__: {a: 1}"],
    ["an anchor to itself", "name: home", "name: &a [*a]"],
  ])("with %s is refused with line and column", (_what, before, after) => {
    expect(WHOLE).toContain(before);
    const error = failOf(WHOLE.replace(before, after));
    expect(error.code).toBe("CLUSTER_INVALID");
    expect(error.details["line"]).toBeTypeOf("number");
    expect(error.details["column"]).toBeTypeOf("number");
  });

  test("a node without profile is told which commands make one", () => {
    const error = failOf("schema: noodle/v1\nnodes:\n  - name: a\n");
    expect(error.message).toContain("noodle profile MODEL");
    expect(error.message).toContain("--synthetic");
  });

  test.each([
    ["too long", `# ${"x".repeat(2 ** 20)}\n${WHOLE}`],
    ["nested without end in brackets", "[".repeat(100_000)],
    ["nested without end in lists", `${"- ".repeat(20_000)}a`],
    ["nested beyond the limit", `schema: ${"[".repeat(60)}${"]".repeat(60)}`],
    [
      "an anchor of anchors of anchors",
      `a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [${"*a,".repeat(9)}]\nc: &c [${"*b,".repeat(9)}]\nd: [${"*c,".repeat(9)}]`,
    ],
    ["empty", ""],
    ["a word", "noodle"],
    ["a list", "- a\n- b"],
    ["two documents", `${WHOLE}\n---\n${WHOLE}`],
    [
      "more nodes than there can be",
      "schema: noodle/v1\nnodes: [{name: a, count: 4096, hardware: {memory_gb_per_s: 1, compute_gflops: 1}}, {name: b, profile: b}]",
    ],
  ])("that is %s is refused", (_what, text) => {
    expect(failOf(text).code).toBe("CLUSTER_INVALID");
  });

  test("with an anchor or two is read", () => {
    const text =
      "schema: noodle/v1\nnodes:\n  - {name: a, hardware: &h {memory_gb_per_s: 1, compute_gflops: 2}}\n  - {name: b, hardware: *h}\n";
    expect(readCluster(text).nodes).toHaveLength(2);
  });

  test("whatever it holds, it is read or refused with a typed error", () => {
    fc.assert(
      fc.property(fc.nat({ max: WHOLE.length }), fc.nat({ max: 40 }), fc.string({ maxLength: 20 }), (at, gone, put) => {
        try {
          readCluster(WHOLE.slice(0, at) + put + WHOLE.slice(at + gone));
        } catch (error) {
          expect(error).toBeInstanceOf(NoodleError);
          expect((error as NoodleError).code).toBe("CLUSTER_INVALID");
        }
      }),
      { seed: 7, numRuns: 300 },
    );
  });
});
