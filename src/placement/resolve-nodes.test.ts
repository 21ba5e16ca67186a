import { describe, expect, test } from "vitest";
import { must } from "../common/index.ts";
import { LAPTOP, trueMs } from "../profile/testing.ts";
import { calibrate } from "./calibrate.ts";
import { imagineCosts } from "./make-costs.ts";
import { readCluster } from "./read-cluster.ts";
import { listProfilePaths, resolveNodes } from "./resolve-nodes.ts";
import { makeModel, makeProfile } from "./testing.ts";
import { CostModel, type ProfileDocument } from "../profile/index.ts";

const SHAPE = { like: "gpt2-124m", layers: 3, vocab: 4096 } as const;
const MODEL = makeModel(SHAPE);
const PROFILE = makeProfile(SHAPE);

const CLUSTER = readCluster(`schema: noodle/v1
nodes:
  - {name: a, profile: a.json, memory: 2GiB}
  - {name: b, profile: a.json, scale: {decode: 3, prefill: 2}, overhead_ms: 0.5}
  - {name: c, hardware: {memory_gb_per_s: 40, compute_gflops: 400}, memory: 1GiB}
  - {name: d, address: "10.0.0.7:1"}
`);

function resolve(
  profile: ProfileDocument,
  options: { strict?: boolean } = {},
  byNode: ReadonlyMap<string, ProfileDocument> = new Map([["d", PROFILE]]),
) {
  return resolveNodes(CLUSTER, { byPath: new Map([["a.json", profile]]), byNode }, MODEL, options);
}

describe("resolveNodes", () => {
  const { nodes, notes } = resolve(PROFILE);
  const [a, b, c, d] = nodes.map((node) => node.costs) as [CostModel, CostModel, CostModel, CostModel];

  test("takes a profile as it is, multiplies it, or gives the one that comes for the node", () => {
    const decode = { phase: "decode", rows: 4, context: 0 } as const;
    const prefill = { phase: "prefill", rows: 64, context: 0 } as const;
    expect(b.predict(1, decode).ms).toBeCloseTo(3 * a.predict(1, decode).ms, 12);
    expect(b.predict(1, prefill).ms).toBeCloseTo(2 * a.predict(1, prefill).ms, 12);
    const overhead = a.document.step_overhead_ms.decode;
    expect(b.document.step_overhead_ms.decode).toBeCloseTo(3 * overhead + 0.5, 12);
    expect(d.predict(2, decode).ms).toBe(a.predict(2, decode).ms);
    expect(nodes.map((node) => node.source)).toEqual(["measured", "scaled", "hardware", "measured"]);
  });

  test("a data sheet of twice the machine is about twice as quick where work is large", () => {
    const head = { phase: "decode", rows: 1, context: 0 } as const;
    const ratio = c.predict(4, head).ms / a.predict(4, head).ms;
    expect(ratio).toBeGreaterThan(0.4);
    expect(ratio).toBeLessThan(0.65);
    expect(notes.some((note) => note.includes("mean error on cells left out"))).toBe(true);
  });

  test("takes memory from the file, or four fifths of the profile's, and says so", () => {
    expect(nodes.map((node) => node.memoryBytes)).toEqual([
      2 ** 31,
      Math.floor(0.8 * 2 ** 34),
      2 ** 30,
      Math.floor(0.8 * 2 ** 34),
    ]);
    expect(notes.some((note) => note.startsWith("b may take"))).toBe(true);
    expect(listProfilePaths(CLUSTER)).toEqual(["a.json"]);
  });

  test("a node with only an address needs a profile, and is told how to get one", () => {
    expect(() => resolve(PROFILE, {}, new Map())).toThrowError(expect.objectContaining({ code: "CLUSTER_INVALID" }));
    expect(() => resolve(PROFILE, {}, new Map())).toThrow(/--synthetic/);
  });

  test.each([
    ["another number of units", makeProfile({ ...SHAPE, layers: 4 })],
    ["another width", makeProfile({ ...SHAPE, embd: 384 })],
    [
      "units that were not measured",
      {
        ...PROFILE,
        cost_model: { ...PROFILE.cost_model, classes: PROFILE.cost_model.classes.filter((one) => one.name !== "head") },
      },
    ],
  ])("refuses a profile of %s", (_what, profile) => {
    expect(() => resolve(profile)).toThrowError(expect.objectContaining({ code: "PROFILE_MISMATCH" }));
  });

  test("notes a profile that is partial, and refuses it when strict", () => {
    const partial = { ...PROFILE, partial: true, partial_reason: "stopped" };
    expect(resolve(partial).notes.some((note) => note.includes("partial"))).toBe(true);
    expect(() => resolve(partial, { strict: true })).toThrowError(
      expect.objectContaining({ code: "PROFILE_MISMATCH" }),
    );
  });

  test("refuses a profile for a node that there is not", () => {
    expect(() => resolve(PROFILE, {}, new Map([["e", PROFILE]]))).toThrowError(
      expect.objectContaining({ code: "USAGE" }),
    );
  });

  test("without any measured profile says that nothing was calibrated", () => {
    const cluster = readCluster(
      "schema: noodle/v1\nnodes: [{name: a, hardware: {memory_gb_per_s: 40, compute_gflops: 400}}]",
    );
    const bare = resolveNodes(cluster, { byPath: new Map(), byNode: new Map() }, MODEL);
    expect(bare.notes.some((note) => note.includes("not calibrated"))).toBe(true);
    expect(bare.notes.some((note) => note.includes("unlimited"))).toBe(true);
  });
});

describe("calibrate", () => {
  test("finds the roofs of a machine that keeps to them, and predicts cells that were left out", () => {
    const found = must(calibrate(PROFILE), "calibration");
    expect(found.memoryRatio).toBeGreaterThan(0.85);
    expect(found.memoryRatio).toBeLessThan(1.25);
    for (const ratio of found.computeRatio.values()) expect(ratio).toBeGreaterThan(0.7);
    expect(must(found.looErrorRatio, "error")).toBeLessThan(0.15);
  });

  test("predicts another machine from its data sheet alone", () => {
    const machine = { ...LAPTOP, memoryGbPerS: 80, computeGflops: 300 };
    const hardware = { memoryGbPerS: 80, computeGflops: 300, devices: 1 };
    const costs = new CostModel(imagineCosts(MODEL.work, hardware, must(calibrate(PROFILE), "calibration"), 0));
    for (const [phase, rows] of [
      ["decode", 1],
      ["decode", 8],
      ["prefill", 64],
      ["prefill", 256],
    ] as const) {
      const cell = { phase, rows, context: 512, outputRows: phase === "decode" ? rows : 1 };
      const truth = MODEL.work.units.slice(1).reduce((sum, unit) => sum + trueMs(machine, unit, "total", cell), 0);
      const predicted = MODEL.work.units.slice(1).reduce((sum, unit) => sum + costs.predict(unit.unit, cell).ms, 0);
      expect(Math.abs(predicted / truth - 1)).toBeLessThan(0.2);
    }
  });

  test("counts experts as far as rows meet them", () => {
    const shape = { like: "mixtral-8x7b", layers: 1, embd: 256, ffn: 512, vocab: 512 } as const;
    const moe = makeModel(shape);
    const hardware = { memoryGbPerS: 20, computeGflops: 1e6, devices: 1 };
    const calibration = { ...must(calibrate(PROFILE), "calibration"), unitMs: 0 };
    const costs = new CostModel(imagineCosts(moe.work, hardware, calibration, 0));
    const one = costs.predict(1, { phase: "decode", rows: 1, context: 0 }).ms;
    const many = costs.predict(1, { phase: "decode", rows: 64, context: 0 }).ms;
    // One row meets two experts of eight, many rows meet them all.
    expect(many / one).toBeGreaterThan(2);
    expect(many / one).toBeLessThan(5);
  });

  test("says nothing of a machine whose roofs were not measured, or of too few cells", () => {
    expect(calibrate({ ...PROFILE, machine: { ...PROFILE.machine, compute_gflops: 0 } })).toBeNull();
    expect(calibrate({ ...PROFILE, units: PROFILE.units.slice(0, 2) })).toBeNull();
  });
});
