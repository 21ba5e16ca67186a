import { describe, expect, test } from "vitest";
import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { findLink, readCluster } from "../placement/index.ts";
import { completeProfile } from "../profile/index.ts";
import { simulateProfile } from "../profile/testing.ts";
import { compareMachines, describeRunning } from "./running-cluster.ts";

function makeNode(id: string, more: Partial<StatusDocument["nodes"][number]> = {}): StatusDocument["nodes"][number] {
  return {
    id,
    name: id,
    address: "10.0.0.2:7422",
    pid: 1,
    state: "ready",
    units: null,
    weights_bytes: 0,
    weights_bytes_received: 0,
    rss_bytes: 0,
    rtt_ms: 1,
    clock_offset_ms: null,
    clock_uncertainty_ms: null,
    error: null,
    capabilities: { memory_limit_bytes: 0, memory_free_bytes: 2 ** 30 },
    ...more,
  };
}

function makeStatus(
  nodes: StatusDocument["nodes"],
  stages: Partial<StatusDocument["stages"][number]>[] = [],
): StatusDocument {
  return { schema: "noodle.status.v1", coordinator: { threads: 0 }, nodes, stages } as unknown as StatusDocument;
}

describe("a running cluster", () => {
  test("has the latencies of its round trips, and says what was assumed", () => {
    const status = makeStatus([makeNode("a", { rtt_ms: 1 }), makeNode("b", { rtt_ms: 5 })]);
    const { cluster, notes } = describeRunning(status, null);
    expect(findLink(cluster, cluster.coordinator ?? "", "b").latencyMs).toBe(2.5);
    expect(findLink(cluster, "a", "b").latencyMs).toBe(2.5);
    expect(findLink(cluster, "a", "b").bytesPerMs).toBe(125_000);
    expect(notes.join(" ")).toContain("1 Gbit/s");
  });

  test("may take what is free and what its stages hold now, or what its workers were allowed", () => {
    const limited = makeNode("b", { capabilities: { memory_limit_bytes: 5e8, memory_free_bytes: 9e9 } });
    const held = [{ node: "a", weights_bytes: 100, kv_bytes: 20, compute_bytes: 3 }];
    const { cluster } = describeRunning(
      makeStatus([makeNode("a"), limited, makeNode("c", { capabilities: {} })], held),
      null,
    );
    expect(cluster.nodes.map((node) => node.memoryBytes)).toEqual([2 ** 30 + 123, 5e8, null]);
  });

  test("takes links and costs from a file where there is one, by name", () => {
    const file = readCluster(`schema: noodle/v1
coordinator: z
nodes:
  - {name: a, profile: a.json}
  - {name: z, profile: z.json}
links: {default: {latency_ms: 7, bandwidth: 1Mbit/s}}
`);
    const { cluster, notes } = describeRunning(
      makeStatus([makeNode("a"), makeNode("b", { address: "10.0.0.3:7422" })]),
      file,
    );
    expect(cluster.nodes.map((node) => node.costs.type)).toEqual(["profile", "none"]);
    expect(findLink(cluster, "a", "b").latencyMs).toBe(7);
    expect(cluster.coordinator).toBeNull();
    expect(notes).toEqual([]);
  });

  test("says that nodes of one machine share it", () => {
    const together = describeRunning(makeStatus([makeNode("a"), makeNode("b")]), null).notes;
    const apart = describeRunning(makeStatus([makeNode("a"), makeNode("b", { address: "[::2]:1" })]), null).notes;
    expect(together).toHaveLength(apart.length + 1);
    expect(together[0]).toContain("a, b");
  });

  test("names nodes of one name by their ids, and is refused without any", () => {
    const twins = [makeNode("n1", { name: "pc" }), makeNode("n2", { name: "pc" })];
    expect(describeRunning(makeStatus(twins), null).cluster.nodes.map((node) => node.name)).toEqual(["n1", "n2"]);
    expect(() => describeRunning(makeStatus([]), null)).toThrowError(
      expect.objectContaining({ code: "CLUSTER_NOT_READY" }),
    );
  });

  test("is told of a profile of another machine, and refuses it when strict", () => {
    const profile = completeProfile(simulateProfile({ model: { like: "gpt2-124m", layers: 2 } }));
    const status = makeStatus([
      makeNode("a", { capabilities: { cpu_model: "Another", cores: profile.machine.cores } }),
    ]);
    const { cluster } = describeRunning(status, null);
    const profiles = { byPath: new Map(), byNode: new Map([["a", profile]]) };
    const notes = compareMachines(status, cluster, profiles, false);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain("CPU");
    expect(() => compareMachines(status, cluster, profiles, true)).toThrowError(
      expect.objectContaining({ code: "PROFILE_MISMATCH" }),
    );
  });
});
