import { describe, expect, test } from "vitest";
import { evaluatePlan } from "./evaluate.ts";
import { listNeighbourPlans, planRound } from "./round.ts";
import { drawProblem, listAllPlans, seededRandom } from "./testing.ts";

const STILL = { nowMs: () => 0 };

describe("planRound", () => {
  test.each(Array.from({ length: 60 }, (_, index) => index))(
    "is as good as the best of all plans, bound and proof included (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const links = (["uniform", "directed", "regions", "free"] as const)[seed % 4] ?? "uniform";
      const problem = drawProblem(random, {
        nodes: 2 + (seed % 3),
        units: 3 + (seed % 4),
        links,
        memory: (["none", "loose", "tight"] as const)[seed % 3] ?? "none",
        twins: seed % 5 === 0,
      });
      const inFlight = 1 + (seed % 5);
      const extraMs = seed % 7;
      const answer = await planRound(problem, { inFlight, extraMs }, STILL);
      const best = listAllPlans(problem).reduce(
        (least, plan) => Math.min(least, Math.max(plan.latencyMs + extraMs, inFlight * plan.periodMs)),
        Number.POSITIVE_INFINITY,
      );
      if (best === Number.POSITIVE_INFINITY) {
        expect(answer.figures).toBeNull();
        expect(answer.boundMs).toBe(Number.POSITIVE_INFINITY);
        return;
      }
      expect(answer.roundMs).toBeCloseTo(best, 6);
      expect(answer.boundMs).toBeLessThanOrEqual(best * (1 + 1e-9));
      expect(answer.proven).toBe(true);
      const value = evaluatePlan(problem, answer.figures?.stages ?? []);
      expect(value.violations).toEqual([]);
      expect(answer.roundMs).toBeCloseTo(Math.max(value.latency_ms + extraMs, inFlight * value.period_ms), 9);
    },
  );

  test("without time it has some plan and a bound below it", async () => {
    const problem = { ...drawProblem(seededRandom(5), { nodes: 5, units: 8, links: "directed" }), time_limit_s: 0 };
    const answer = await planRound(problem, { inFlight: 3 }, STILL);
    expect(answer.figures).not.toBeNull();
    expect(answer.boundMs).toBeLessThanOrEqual(answer.roundMs);
    expect(answer.timeLimitHit).toBe(true);
  });
});

test("plans nearby can be run and are other plans", async () => {
  const problem = drawProblem(seededRandom(3), { nodes: 3, units: 6 });
  const answer = await planRound(problem, { inFlight: 3 }, STILL);
  const stages = answer.figures?.stages ?? [];
  const near = listNeighbourPlans(problem, stages, STILL);
  expect(near.length).toBeGreaterThan(0);
  for (const plan of near) {
    expect(evaluatePlan(problem, plan.stages).violations).toEqual([]);
    expect(plan.stages.map(({ nodes, first }) => [nodes, first])).not.toEqual(
      stages.map(({ nodes, first }) => [nodes, first]),
    );
  }
});
