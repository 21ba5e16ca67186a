import { describe, expect, test } from "vitest";
import { NoodleError } from "../common/index.ts";
import type { Problem } from "./document.ts";
import { evaluatePlan, type StageRange } from "./evaluate.ts";

/** Three nodes, four units; every figure below is worked out by hand. */
const PROBLEM: Problem = {
  units: 4,
  unit_bytes: [10, 4, 4, 10],
  kv_bytes_per_token: [0, 1, 1, 0],
  cache_tokens: 2,
  tied_units: [[0, 3]],
  nodes: [
    { id: "a", unit_ms: [1, 2, 3, 4], overhead_ms: 0.5, memory_bytes: 22 },
    { id: "b", unit_ms: [2, 4, 6, 8], memory_bytes: 16 },
    { id: "c", stage_ms_by_count: { "1": 5, "2": 4, "4": 30 }, max_units: 2 },
  ],
  links: {
    default: { latency_ms: 1, bytes_per_ms: 10 },
    pairs: [{ from: "a", to: "b", latency_ms: 2, bytes_per_ms: 4 }],
  },
  activation_bytes: 20,
  return_bytes: 5,
  objective: "period",
};

const stage = (nodes: string | string[], first: number, end: number, pipeline?: number): StageRange => ({
  nodes: [nodes].flat(),
  first,
  end,
  ...(pipeline === undefined ? {} : { pipeline }),
});

describe("evaluatePlan", () => {
  test("counts one node alone without hop or way back, tied units once", () => {
    const value = evaluatePlan(PROBLEM, [stage("a", 0, 4)]);
    expect(value.period_ms).toBeCloseTo(10.5, 12);
    expect(value.latency_ms).toBeCloseTo(10.5, 12);
    // 10 + 4 + 4 for the weights and 2 x 2 for the KV.
    expect(value.stage_bytes).toEqual([22]);
    expect(value.violations).toEqual([]);
  });

  test("adds hops and the way back to the latency, and lets a hop bind the period", () => {
    const value = evaluatePlan(PROBLEM, [stage("a", 0, 2), stage("b", 2, 3), stage("c", 3, 4)]);
    // Stages 3.5 + 6 + 5; hops 2 + 20/4 and 1 + 20/10; back 1 + 5/10.
    expect(value.latency_ms).toBeCloseTo(14.5 + 7 + 3 + 1.5, 12);
    expect(value.period_ms).toBe(6);
    expect(value.bottleneck).toEqual({ kind: "stage", stage: 1, ms: 6 });
    const narrow = evaluatePlan({ ...PROBLEM, activation_bytes: 40 }, [stage("a", 0, 3), stage("b", 3, 4)]);
    expect(narrow.bottleneck).toEqual({ kind: "hop", stage: 0, ms: 10 });
  });

  test("takes the link of its direction", () => {
    const there = evaluatePlan(PROBLEM, [stage("a", 0, 3), stage("b", 3, 4)]);
    const back = evaluatePlan(PROBLEM, [stage("b", 0, 1), stage("a", 1, 4)]);
    expect(there.latency_ms).toBeCloseTo(6.5 + 8 + (2 + 5) + (1 + 0.5), 12);
    expect(back.latency_ms).toBeCloseTo(2 + 9.5 + (1 + 2) + (2 + 5 / 4), 12);
  });

  test("adds the throughputs of nodes that share a stage; the slowest of them and the worst link count for the latency", () => {
    const value = evaluatePlan({ ...PROBLEM, replicas: 2 }, [stage(["a", "b"], 0, 2), stage("c", 2, 4)]);
    expect(value.stage_ms[0]).toBeCloseTo(1 / (1 / 3.5 + 1 / 6), 12);
    expect(value.latency_ms).toBeCloseTo(6 + 4 + 3 + 1.5, 12);
  });

  test("adds the throughputs of pipelines", () => {
    const value = evaluatePlan({ ...PROBLEM, replicas: 2 }, [
      stage("a", 0, 4),
      stage("b", 0, 2, 1),
      stage("c", 2, 4, 1),
    ]);
    expect(value.period_ms).toBeCloseTo(1 / (1 / 10.5 + 1 / 6), 12);
    expect(value.latency_ms).toBeCloseTo(6 + 4 + 3 + 1.5, 12);
    expect(value.violations).toEqual([]);
  });

  test.each<[string, Partial<Problem>, StageRange[], string]>([
    ["memory", {}, [stage("b", 0, 2), stage("a", 2, 4)], "none"],
    ["memory by one byte", { cache_tokens: 3 }, [stage("b", 0, 2), stage("a", 2, 4)], "memory"],
    ["more units than a node takes", {}, [stage("c", 0, 4)], "max_units"],
    ["a count without a time", { nodes: [{ id: "c", stage_ms_by_count: { "2": 1 } }] }, [stage("c", 0, 4)], "table"],
    ["the limit of the period", { max_period_ms: 10 }, [stage("a", 0, 4)], "period"],
    ["copies that are not allowed", {}, [stage("a", 0, 4), stage("b", 0, 2, 1), stage("c", 2, 4, 1)], "replicas"],
  ])("says when a plan breaks %s", (_, changes, stages, resource) => {
    const found = evaluatePlan({ ...PROBLEM, ...changes }, stages).violations.map((violation) => violation.resource);
    expect(found[0] ?? "none").toBe(resource);
  });

  test.each<[string, StageRange[]]>([
    ["no stages", []],
    ["a gap", [stage("a", 0, 1), stage("b", 2, 4)]],
    ["an overlap", [stage("a", 0, 3), stage("b", 2, 4)]],
    ["an end too early", [stage("a", 0, 3)]],
    ["an empty stage", [stage("a", 0, 0), stage("b", 0, 4)]],
    ["an unknown node", [stage("x", 0, 4)]],
    ["a node in two stages", [stage("a", 0, 2), stage("a", 2, 4)]],
    ["a stage without nodes", [{ nodes: [], first: 0, end: 4 }]],
  ])("refuses %s", (_, stages) => {
    let code: string | null = null;
    try {
      evaluatePlan(PROBLEM, stages);
    } catch (thrown) {
      code = NoodleError.from(thrown).code;
    }
    expect(code).toBe("PLAN_INVALID");
  });
});
