import { describe, expect, test } from "vitest";
import { compareBaselines } from "./baselines/compare.ts";
import type { Objective, Problem, ProblemNode } from "./document.ts";
import { evaluatePlan } from "./evaluate.ts";
import { planProblem } from "./plan.ts";
import type { PlanDocument } from "./plan-document.ts";
import { drawProblem, seededRandom } from "./testing.ts";
import { addTwin } from "./twin.ts";

const plan = (problem: Problem): Promise<PlanDocument> => planProblem(problem, { nowMs: () => 0, alternatives: false });
const SEEDS = Array.from({ length: 12 }, (_, seed) => seed);

function draw(seed: number, changes: Partial<Parameters<typeof drawProblem>[1]> = {}): Problem {
  return drawProblem(seededRandom(seed), { nodes: 5, units: 14, memory: "loose", links: "directed", ...changes });
}

/** Infinite without a plan. */
async function valueOf(problem: Problem, objective: Objective): Promise<number> {
  const answer = await plan({ ...problem, objective });
  return (objective === "latency" ? answer.latency_ms : answer.period_ms) ?? Number.POSITIVE_INFINITY;
}

const mapNodes = (problem: Problem, change: (node: ProblemNode) => ProblemNode): Problem => ({
  ...problem,
  nodes: problem.nodes.map(change),
});

describe("properties of every plan", () => {
  test.each(SEEDS)("no baseline that can be run is better (seed %i)", async (seed) => {
    for (const objective of ["period", "latency", "fewest_nodes"] as const) {
      const problem = { ...draw(seed, { links: seed % 2 === 0 ? "directed" : "uniform" }), objective };
      const answer = await plan(problem);
      const ratios = compareBaselines(problem, answer).flatMap(({ ratio }) => ratio ?? []);
      expect(Math.min(1, ...ratios)).toBeGreaterThanOrEqual(1 - 1e-9);
    }
  });

  test.each(["period", "latency"] as const)("more of anything never hurts, less never helps: %s", async (objective) => {
    for (const seed of SEEDS) {
      const problem = draw(seed);
      const value = (await valueOf(problem, objective)) * (1 + 1e-9);
      const id = problem.nodes[seed % 5]?.id ?? "";
      const grown = [
        addTwin(problem, id),
        mapNodes(problem, (node) =>
          node.id === id ? { ...node, memory_bytes: (node.memory_bytes ?? 1e9) * 2 } : node,
        ),
        mapNodes(problem, (node) => (node.id === id ? { ...node, overhead_ms: 0 } : node)),
        { ...problem, activation_bytes: problem.activation_bytes / 2 },
      ];
      for (const more of grown) expect(await valueOf(more, objective)).toBeLessThanOrEqual(value);
      const links = problem.links;
      const fewer = {
        ...problem,
        nodes: problem.nodes.filter((node) => node.id !== id),
        ...(links === undefined
          ? {}
          : { links: { ...links, pairs: (links.pairs ?? []).filter(({ from, to }) => from !== id && to !== id) } }),
      };
      expect((await valueOf(fewer, objective)) * (1 + 1e-9)).toBeGreaterThanOrEqual(value / (1 + 1e-9));
    }
  });

  test.each(["period", "latency"] as const)(
    "twice the times: twice the value, the same cuts: %s",
    async (objective) => {
      for (const seed of SEEDS) {
        const problem = { ...draw(seed), objective };
        const links = problem.links;
        const slower = mapNodes(
          {
            ...problem,
            ...(links === undefined
              ? {}
              : {
                  links: {
                    default: { latency_ms: links.default.latency_ms * 2, bytes_per_ms: links.default.bytes_per_ms / 2 },
                    pairs: (links.pairs ?? []).map((pair) => ({
                      ...pair,
                      latency_ms: pair.latency_ms * 2,
                      bytes_per_ms: pair.bytes_per_ms / 2,
                    })),
                  },
                }),
          },
          (node) => ({
            ...node,
            overhead_ms: (node.overhead_ms ?? 0) * 2,
            ...(node.unit_ms === undefined ? {} : { unit_ms: node.unit_ms.map((ms) => ms * 2) }),
          }),
        );
        const [before, after] = [await plan(problem), await plan(slower)];
        expect(after.stages.map(({ nodes, first, end }) => ({ nodes, first, end }))).toEqual(
          before.stages.map(({ nodes, first, end }) => ({ nodes, first, end })),
        );
        if (before.feasible) expect(after.period_ms).toBeCloseTo((before.period_ms ?? 0) * 2, 9);
        if (before.feasible) expect(after.latency_ms).toBeCloseTo((before.latency_ms ?? 0) * 2, 9);
      }
    },
  );

  test("other names and another order of nodes: the same value", async () => {
    for (const seed of SEEDS) {
      const problem = draw(seed);
      const shuffled = { ...problem, nodes: [...problem.nodes].reverse() };
      for (const objective of ["period", "latency"] as const) {
        const [a, b] = [await valueOf(problem, objective), await valueOf(shuffled, objective)];
        expect(a === b || Math.abs(a - b) <= 1e-9 * a).toBe(true);
      }
    }
  });

  test("a unit that is split into two halves never makes the period worse", async () => {
    for (const seed of SEEDS) {
      const problem = draw(seed, { memory: "none" });
      const at = 1 + (seed % 12);
      const halve = (values: readonly number[]): number[] =>
        values.toSpliced(at, 1, ...new Array<number>(2).fill((values[at] ?? 0) / 2));
      const { tied_units: _, max_period_ms: _cap, ...rest } = problem;
      const finer = mapNodes(
        { ...rest, units: problem.units + 1, unit_bytes: halve(problem.unit_bytes ?? []) },
        (node) => {
          const { max_units: _max, ...free } = node;
          return { ...free, unit_ms: halve(node.unit_ms ?? []) };
        },
      );
      const whole = mapNodes(rest, ({ max_units: _max, ...free }) => free);
      expect(await valueOf(finer, "period")).toBeLessThanOrEqual((await valueOf(whole, "period")) * (1 + 1e-9));
    }
  });

  test("tied weights never need more memory than weights of their own", async () => {
    for (const seed of SEEDS) {
      const { tied_units: _, ...apart } = draw(seed, { memory: "tight" });
      const tied = { ...apart, tied_units: [[0, apart.units - 1]] };
      expect(await valueOf(tied, "period")).toBeLessThanOrEqual((await valueOf(apart, "period")) * (1 + 1e-9));
    }
  });

  test("links that cost nothing are no links", async () => {
    for (const seed of SEEDS) {
      const { links: _, ...free } = draw(seed);
      const quick = { ...free, links: { default: { latency_ms: 0, bytes_per_ms: 1e15 } } };
      for (const objective of ["period", "latency"] as const) {
        const [a, b] = [await valueOf(free, objective), await valueOf(quick, objective)];
        expect(a === b || Math.abs(a - b) <= 1e-9 * a).toBe(true);
      }
    }
  });

  test("a front falls: each point trades period for latency", async () => {
    for (const seed of SEEDS) {
      const answer = await plan({ ...draw(seed), objective: "pareto" });
      const points = [answer, ...answer.alternatives];
      for (const [index, point] of points.slice(1).entries()) {
        expect(point.period_ms ?? 0).toBeGreaterThan(points[index]?.period_ms ?? 0);
        expect(point.latency_ms ?? 0).toBeLessThan(points[index]?.latency_ms ?? 0);
      }
    }
  });

  test("the same problem gives the same answer, byte for byte", async () => {
    for (const seed of SEEDS) {
      for (const objective of ["period", "latency", "pareto", "fewest_nodes"] as const) {
        const problem = { ...draw(seed), objective };
        expect(JSON.stringify(await plan(structuredClone(problem)))).toBe(JSON.stringify(await plan(problem)));
      }
    }
  });

  test("times that are off by 5% cost at most what they can: the plan's real period is within 1.05 / 0.95", async () => {
    let sum = 0;
    let count = 0;
    for (const seed of SEEDS) {
      const real = draw(seed);
      const random = seededRandom(seed + 99);
      const noisy = mapNodes(real, (node) => ({
        ...node,
        ...(node.unit_ms === undefined ? {} : { unit_ms: node.unit_ms.map((ms) => ms * (0.95 + 0.1 * random())) }),
        overhead_ms: (node.overhead_ms ?? 0) * (0.95 + 0.1 * random()),
      }));
      const [guess, truth] = [await plan(noisy), await plan(real)];
      if (!truth.feasible) continue;
      const regret = evaluatePlan(real, guess.stages).period_ms / (truth.period_ms ?? 1);
      expect(regret).toBeLessThanOrEqual(1.05 / 0.95 + 1e-9);
      sum += regret;
      count += 1;
    }
    expect(sum / count).toBeLessThanOrEqual(1.05);
  });
});
