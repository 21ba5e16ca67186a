import { describe, expect, test } from "vitest";
import type { Problem } from "./document.ts";
import { planGrowth } from "./growth.ts";
import { planProblem } from "./plan.ts";
import { drawProblem, seededRandom } from "./testing.ts";
import { describePlan } from "./words.ts";

const STILL = { nowMs: () => 0 };

/** A clock that goes on by a second with every look at it. */
function hurry(): () => number {
  let now = 0;
  return () => (now += 1000);
}

const MEMORY: Problem = {
  units: 8,
  unit_bytes: [400, 200, 200, 200, 200, 200, 200, 400],
  kv_bytes_per_token: [0, 1, 1, 1, 1, 1, 1, 0],
  cache_tokens: 40,
  nodes: [
    { id: "a", memory_bytes: 560, unit_ms: [1, 2, 2, 2, 2, 2, 2, 5] },
    { id: "b", memory_bytes: 630, unit_ms: [1, 3, 3, 3, 3, 3, 3, 7] },
    { id: "c", memory_bytes: 490, unit_ms: [1, 9, 9, 9, 9, 9, 9, 20] },
  ],
  activation_bytes: 1,
  objective: "period",
};

describe("planProblem", () => {
  test("says so when one node alone is best, and plans that", async () => {
    const problem = {
      ...drawProblem(seededRandom(3), { nodes: 4, units: 8, links: "uniform" }),
      objective: "latency",
    } as const;
    const slow = { ...problem, links: { default: { latency_ms: 1e6, bytes_per_ms: 1 } } };
    const answer = await planProblem(slow, STILL);
    expect(answer.nodes).toBe(1);
    expect(describePlan(slow, answer)[0]).toContain("alone");
  });

  test("with no time left still gives a plan, its bound and its gap, unproven", async () => {
    const problem = { ...drawProblem(seededRandom(5), { nodes: 16, units: 40, memory: "loose", links: "directed" }) };
    for (const objective of ["period", "latency", "pareto", "fewest_nodes"] as const) {
      const answer = await planProblem({ ...problem, objective, time_limit_s: 0 }, { nowMs: hurry() });
      expect(answer.time_limit_hit).toBe(true);
      expect(answer.feasible).toBe(true);
      expect(answer.proven && answer.gap !== 0).toBe(false);
      if (objective !== "fewest_nodes") {
        expect(answer.bound_ms ?? 0).toBeLessThanOrEqual(
          (objective === "latency" ? answer.latency_ms : answer.period_ms) ?? 0,
        );
      }
    }
  });

  test("lists other plans, each checked, none better, one node alone among them", async () => {
    const problem = drawProblem(seededRandom(11), { nodes: 4, units: 12, memory: "none", links: "uniform" });
    const answer = await planProblem(problem, STILL);
    expect(answer.nodes).toBeGreaterThan(1);
    expect(answer.alternatives.length).toBeGreaterThan(1);
    expect(answer.alternatives.map((plan) => plan.what)).toContain("one node alone");
    for (const plan of answer.alternatives) expect(plan.period_ms).toBeGreaterThanOrEqual(answer.period_ms ?? 0);
  });

  test("hundreds of unlike nodes with unlike links get a plan with a bound and a gap", async () => {
    const problem = drawProblem(seededRandom(2), { nodes: 100, units: 30, memory: "loose", links: "regions" });
    const unlike = problem.nodes.map((node, index) => ({ ...node, overhead_ms: index / 7 }));
    const answer = await planProblem({ ...problem, nodes: unlike }, STILL);
    expect(answer.feasible).toBe(true);
    expect(answer.bound_ms).toBeGreaterThan(0);
    expect(answer.gap).toBeLessThan(0.5);
  });

  test("one more node of a kind is planned for, the best kind first", async () => {
    const roomy = { ...MEMORY, cache_tokens: 0, nodes: MEMORY.nodes.map((node) => ({ ...node, memory_bytes: 2000 })) };
    const answer = await planProblem(roomy, STILL);
    const growth = await planGrowth(roomy, answer, STILL);
    expect(growth[0]?.like).toBe("a");
    expect(growth.every((more) => more.ratio <= 1 + 1e-9)).toBe(true);
    expect(growth.map((more) => more.ratio)).toEqual(growth.map((more) => more.ratio).sort((x, y) => x - y));
  });
});

describe("a problem without a plan", () => {
  /** The problem as a remedy changes it. */
  function apply(problem: Problem, field: string, node: string | null, to: number): Problem {
    if (node === null) return { ...problem, [field]: to };
    return { ...problem, nodes: problem.nodes.map((each) => (each.id === node ? { ...each, [field]: to } : each)) };
  }

  test("short of memory: names the least for each node and for the cache, and each would do, one less would not", async () => {
    const problem = { ...MEMORY, cache_tokens: 100 };
    const answer = await planProblem(problem, STILL);
    expect(answer).toMatchObject({ feasible: false, proven: true, stages: [], period_ms: null });
    const because = answer.infeasible_because;
    expect(because?.resource).toBe("memory");
    expect(because?.remedies.map((remedy) => remedy.field)).toContain("memory_bytes");
    for (const { field, node, from, to } of because?.remedies ?? []) {
      if (field === "nodes") continue;
      expect((await planProblem(apply(problem, field, node, to), STILL)).feasible).toBe(true);
      const less = to > from ? to - 1 : to + 1;
      expect((await planProblem(apply(problem, field, node, less), STILL)).feasible).toBe(false);
    }
  });

  test("a smaller cache can be the cure", async () => {
    const problem = {
      ...MEMORY,
      cache_tokens: 100,
      nodes: MEMORY.nodes.map((node) => ({ ...node, memory_bytes: 900 })),
    };
    const answer = await planProblem(problem, STILL);
    const remedy = answer.infeasible_because?.remedies.find(({ field }) => field === "cache_tokens");
    expect(remedy?.words).toBe("cache_tokens <= 50");
    expect(answer.infeasible_because?.words).toContain("cache_tokens <= 50");
  });

  test("too tight a period: the least that would do is the optimum", async () => {
    const free = { ...MEMORY, cache_tokens: 0, nodes: MEMORY.nodes.map((node) => ({ ...node, memory_bytes: 2000 })) };
    const best = await planProblem(free, STILL);
    const answer = await planProblem({ ...free, max_period_ms: 3 }, STILL);
    expect(answer.infeasible_because?.resource).toBe("period");
    expect(answer.infeasible_because?.remedies[0]?.to).toBeCloseTo(best.period_ms ?? 0, 9);
    expect(answer.infeasible_because?.short_by).toBeCloseTo((best.period_ms ?? 0) - 3, 9);
  });

  test("too few units allowed, or no counts that add up", async () => {
    const nodes = MEMORY.nodes.map(({ id, unit_ms = [] }) => ({ id, unit_ms, max_units: 2 }));
    const limited = await planProblem({ ...MEMORY, nodes }, STILL);
    expect(limited.infeasible_because?.resource).toBe("max_units");
    expect(limited.infeasible_because?.remedies[0]).toMatchObject({ field: "max_units", from: 2, to: 4 });
    const tables = MEMORY.nodes.map(({ id }) => ({ id, stage_ms_by_count: { "3": 1 } }));
    const odd = await planProblem({ ...MEMORY, nodes: tables }, STILL);
    expect(odd.infeasible_because?.resource).toBe("table");
  });

  test("is said in words", async () => {
    const problem = { ...MEMORY, cache_tokens: 100 };
    const lines = describePlan(problem, await planProblem(problem, STILL));
    expect(lines[0]).toContain("no plan");
    expect(lines.length).toBeGreaterThan(1);
  });
});
