import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Problem } from "./document.ts";
import { planProblem } from "./plan.ts";
import type { PlanDocument } from "./plan-document.ts";
import { drawProblem, type Family, listAllPlans, seededRandom, type Truth } from "./testing.ts";

/** Equal but for the order in which sums were added. */
function isSame(a: number | null, b: number): boolean {
  return a !== null && Math.abs(a - b) <= 1e-9 * Math.max(1, Math.abs(b));
}

/** Time stands still: the answer is the problem's alone. */
const plan = (problem: Problem): Promise<PlanDocument> => planProblem(problem, { nowMs: () => 0 });

function leastOf(plans: readonly Truth[], value: (plan: Truth) => number): number {
  return Math.min(...plans.map(value));
}

/** Period and latency of what nothing beats, by growing period. */
function frontOf(plans: readonly Truth[]): [number, number][] {
  const front: [number, number][] = [];
  for (const { periodMs, latencyMs } of [...plans].sort(
    (a, b) => a.periodMs - b.periodMs || a.latencyMs - b.latencyMs,
  )) {
    if (latencyMs < (front.at(-1)?.[1] ?? Number.POSITIVE_INFINITY) * (1 - 1e-9)) front.push([periodMs, latencyMs]);
  }
  return front;
}

/** Plans with all objectives, with and without a limit of the period, and compares with all plans there are. */
async function expectOptimal(problem: Problem, stretch: number): Promise<void> {
  const all = listAllPlans(problem);
  const limit = all.length === 0 ? 5 : leastOf(all, (truth) => truth.periodMs) * stretch;
  for (const capMs of [undefined, limit]) {
    const capped = capMs === undefined ? problem : { ...problem, max_period_ms: capMs };
    const allowed = all.filter((truth) => truth.periodMs <= (capMs ?? Number.POSITIVE_INFINITY) * (1 + 1e-12));
    for (const objective of ["period", "latency", "fewest_nodes", "pareto"] as const) {
      const answer = await plan({ ...capped, objective });
      expect([answer.feasible, answer.proven]).toEqual([allowed.length > 0, true]);
      if (allowed.length === 0) {
        expect(answer.infeasible_because?.words).not.toBe("");
        continue;
      }
      expect(answer.gap).toBe(0);
      if (objective === "period")
        expect(
          isSame(
            answer.period_ms,
            leastOf(allowed, (truth) => truth.periodMs),
          ),
        ).toBe(true);
      if (objective === "latency")
        expect(
          isSame(
            answer.latency_ms,
            leastOf(allowed, (truth) => truth.latencyMs),
          ),
        ).toBe(true);
      if (objective === "fewest_nodes") {
        const nodes = leastOf(allowed, (truth) => truth.nodes);
        const smallest = allowed.filter((truth) => truth.nodes === nodes);
        expect([answer.nodes, answer.bound_nodes]).toEqual([nodes, nodes]);
        expect(
          isSame(
            answer.period_ms,
            leastOf(smallest, (truth) => truth.periodMs),
          ),
        ).toBe(true);
      }
      if (objective === "pareto") {
        const found = [answer, ...answer.alternatives].map((point) => [point.period_ms, point.latency_ms]);
        const front = frontOf(allowed);
        expect(found).toHaveLength(front.length);
        expect(
          found.every(
            ([period, latency], i) =>
              isSame(period ?? 0, front[i]?.[0] ?? -1) && isSame(latency ?? 0, front[i]?.[1] ?? -1),
          ),
        ).toBe(true);
      }
    }
  }
}

const seeds = fc.integer({ min: 0, max: 2 ** 31 });

function families(tables: Family["tables"], links: Family["links"]): fc.Arbitrary<Family> {
  return fc.record({
    nodes: fc.integer({ min: 1, max: 4 }),
    units: fc.integer({ min: 1, max: 6 }),
    links: fc.constant(links ?? "uniform"),
    memory: fc.constantFrom("none" as const, "loose" as const, "tight" as const),
    tables: fc.constant(tables ?? "none"),
    blocks: fc.constantFrom("alike" as const, "unlike" as const),
    twins: fc.boolean(),
  });
}

describe("planProblem beside every plan there is", () => {
  test.each<[string, Family["tables"], Family["links"]]>([
    ["unit times and free links", "none", "free"],
    ["unit times and equal links", "none", "uniform"],
    ["unit times and directed links", "none", "directed"],
    ["unit times and two regions", "none", "regions"],
    ["some tables that go up and down, directed links", "some", "directed"],
    ["tables that go up and down, equal links", "all", "uniform"],
    ["tables that go up and down, directed links", "all", "directed"],
  ])("finds the optima of all objectives: %s", async (_, tables, links) => {
    await fc.assert(
      fc.asyncProperty(
        seeds,
        families(tables, links),
        fc.double({ min: 1, max: 2, noNaN: true }),
        async (seed, family, stretch) => {
          await expectOptimal(drawProblem(seededRandom(seed), family), stretch);
        },
      ),
      { seed: 5, numRuns: 60 },
    );
  });

  test("finds the optima with several nodes for a stage and several pipelines", async () => {
    const small = fc.record({
      nodes: fc.integer({ min: 2, max: 4 }),
      units: fc.integer({ min: 1, max: 3 }),
      links: fc.constantFrom("uniform" as const, "directed" as const),
      memory: fc.constantFrom("none" as const, "loose" as const, "tight" as const),
      tables: fc.constantFrom("none" as const, "some" as const),
    });
    await fc.assert(
      fc.asyncProperty(seeds, small, fc.integer({ min: 2, max: 3 }), async (seed, family, replicas) => {
        await expectOptimal({ ...drawProblem(seededRandom(seed), family), replicas }, 1.3);
      }),
      { seed: 5, numRuns: 50 },
    );
  });

  test("holds where a longer beginning is worse: a relay that cannot serve the last unit", async () => {
    // u reaches the head's node x only through w, and w can take s2 alone: u must stop early for it.
    const slow = { latency_ms: 0, bytes_per_ms: 0.1 };
    const problem: Problem = {
      units: 3,
      unit_bytes: [1, 1, 10],
      nodes: [
        { id: "u", unit_ms: [1, 1, 1], memory_bytes: 2 },
        { id: "w", unit_ms: [1, 1, 1], memory_bytes: 2 },
        { id: "x", unit_ms: [1, 1, 1], memory_bytes: 10 },
      ],
      links: {
        default: slow,
        pairs: [
          { from: "u", to: "w", latency_ms: 0, bytes_per_ms: 10 },
          { from: "w", to: "x", latency_ms: 0, bytes_per_ms: 10 },
        ],
      },
      activation_bytes: 10,
      objective: "period",
    };
    const answer = await plan(problem);
    expect(answer.period_ms).toBe(1);
    expect(answer.stages.map((stage) => stage.nodes[0])).toEqual(["u", "w", "x"]);
  });
});
