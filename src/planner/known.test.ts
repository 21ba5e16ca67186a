import { describe, expect, test } from "vitest";
import type { Problem, ProblemNode } from "./document.ts";
import { planProblem } from "./plan.ts";
import type { PlanDocument } from "./plan-document.ts";
import { planBaseline } from "./baselines/compare.ts";

const plan = (problem: Problem): Promise<PlanDocument> => planProblem(problem, { nowMs: () => 0 });

/** `1: first value, 2: second, ...` as a table. */
const table = (...values: number[]): Record<string, number> =>
  Object.fromEntries(values.map((value, index) => [String(index + 1), value]));

const copies = (count: number, id: string, node: Omit<ProblemNode, "id">): ProblemNode[] =>
  Array.from({ length: count }, (_, index) => ({ id: `${id}${index}`, ...node }));

const sizes = (answer: PlanDocument): number[] => answer.stages.map((stage) => stage.end - stage.first);

describe("instances with known optima", () => {
  test("ten nodes of two kinds with measured tables that are not monotone: the published optimum", async () => {
    const l4 = table(
      2485.538,
      1145.044,
      763.518,
      480.992,
      384.901,
      286.587,
      245.735,
      189.108,
      168.167,
      212.637,
      193.496,
    );
    const t4 = table(1987.969, 901.938, 539.039, 404.262, 285.345, 331.343, 231.062);
    // The tables give requests per second; a stage's period is the reciprocal.
    const toMs = (rates: Record<string, number>): Record<string, number> =>
      Object.fromEntries(Object.entries(rates).map(([count, rate]) => [count, 1000 / rate]));
    const answer = await plan({
      units: 60,
      nodes: [...copies(4, "l", { stage_ms_by_count: toMs(l4) }), ...copies(6, "t", { stage_ms_by_count: toMs(t4) })],
      activation_bytes: 1,
      objective: "period",
    });
    expect(1000 / (answer.period_ms ?? 0)).toBeCloseTo(286.587, 9);
    expect(sizes(answer)).toEqual(new Array(10).fill(6));
    expect(answer.proven).toBe(true);
    expect(answer.algorithm).toBe("count-dp");
  });

  test("eight equal nodes and 48 layers: six each", async () => {
    const answer = await plan({
      units: 48,
      nodes: copies(8, "n", { unit_ms: new Array<number>(48).fill(2) }),
      links: { default: { latency_ms: 1, bytes_per_ms: 1000 } },
      activation_bytes: 1000,
      objective: "period",
    });
    expect(sizes(answer)).toEqual(new Array(8).fill(6));
  });

  test("two equal nodes and a heavy head: equal times, not equal blocks", async () => {
    const answer = await plan({
      units: 65,
      nodes: copies(2, "n", { unit_ms: [...new Array<number>(64).fill(1), 8] }),
      activation_bytes: 1,
      objective: "period",
    });
    expect(sizes(answer)).toEqual([36, 29]);
    expect(answer.stages.map((stage) => stage.ms)).toEqual([36, 36]);
  });

  test("equal nodes: sizes differ by at most one block when the head weighs nothing", async () => {
    const answer = await plan({
      units: 31,
      nodes: copies(4, "n", { unit_ms: new Array<number>(31).fill(3), overhead_ms: 1 }),
      activation_bytes: 1,
      objective: "period",
    });
    expect(Math.max(...sizes(answer)) - Math.min(...sizes(answer))).toBeLessThanOrEqual(1);
  });

  test("a small model on one quick and three slow devices: all on the quick one, by both rules", async () => {
    const slow = { unit_ms: new Array<number>(32).fill(20), memory_bytes: 100 };
    const problem: Problem = {
      units: 32,
      unit_bytes: new Array<number>(32).fill(1),
      nodes: [{ id: "quick", unit_ms: new Array<number>(32).fill(1), memory_bytes: 100 }, ...copies(3, "slow", slow)],
      links: { default: { latency_ms: 2, bytes_per_ms: 1000 } },
      activation_bytes: 8192,
      objective: "latency",
    };
    expect((await plan(problem)).stages.map((stage) => stage.nodes)).toEqual([["quick"]]);
    const rule = await planBaseline(problem, "halda", { nowMs: () => 0 });
    expect(rule.stages.map((stage) => stage.nodes)).toEqual([["quick"]]);
  });

  test("six nodes of falling capacity: Parallax's rule makes two pipelines of three stages", async () => {
    const node = (id: string, capacity: number): ProblemNode => ({
      id,
      unit_ms: new Array<number>(72).fill(1),
      memory_bytes: capacity * 2,
    });
    const problem: Problem = {
      units: 72,
      unit_bytes: [0, ...new Array<number>(70).fill(1), 0],
      nodes: [node("a", 40), node("b", 40), node("c", 20), node("d", 20), node("e", 10), node("f", 10)],
      activation_bytes: 1,
      objective: "period",
      replicas: 2,
      time_limit_s: 1,
    };
    const answer = await planBaseline(problem, "parallax", { nowMs: () => 0 });
    expect(answer.stages.map((stage) => stage.pipeline)).toEqual([0, 0, 0, 1, 1, 1]);
  });

  test("a hundred nodes of three kinds with links of their own are planned exactly", async () => {
    const kinds = [1, 2, 5].map((speed) => ({
      unit_ms: Array.from({ length: 40 }, (_, unit) => speed * (1 + (unit % 3) / 10)),
      overhead_ms: 0.5,
      memory_bytes: 5,
    }));
    const answer = await plan({
      units: 40,
      unit_bytes: new Array<number>(40).fill(1),
      nodes: kinds.flatMap((kind, index) => copies([10, 30, 60][index] ?? 0, `k${index}n`, kind)),
      links: { default: { latency_ms: 1, bytes_per_ms: 1000 } },
      activation_bytes: 500,
      objective: "period",
    });
    expect(answer.proven).toBe(true);
    expect(answer.algorithm).toBe("count-dp");
  });
});
