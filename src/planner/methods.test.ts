import { describe, expect, test } from "vitest";
import { packBlocks } from "./blocks/knapsack.ts";
import { hasAlikeBlocks } from "./blocks/shape.ts";
import { solvePeriodByBlocks } from "./blocks/solve.ts";
import { boundPeriod } from "./bounds.ts";
import { canCover, findFewestByCover, solvePeriodByCover } from "./cover.ts";
import { Deadline } from "./deadline.ts";
import type { Problem } from "./document.ts";
import { openHighs } from "./highs/open-highs.ts";
import { Incumbent } from "./incumbent.ts";
import { Instance, type Piece } from "./instance.ts";
import { groupKinds, type Kinds, keepApart } from "./kinds.ts";
import { BlockLatency } from "./latency/by-blocks.ts";
import { LatencySolver } from "./latency/solve.ts";
import { boundReplicatedPeriod } from "./replicas/bound.ts";
import { searchReplicas } from "./replicas/search.ts";
import { searchPlans } from "./search/period.ts";
import { findAlone } from "./solve/context.ts";
import { solvePeriodByStates } from "./states/period.ts";
import { openStateSpace } from "./states/state-space.ts";
import { drawProblem, type Family, listAllPlans, seededRandom } from "./testing.ts";

const ANY = Number.POSITIVE_INFINITY;
const NEVER = new Deadline(() => 0, 1e9);
const LIMITS = { capMs: ANY, maxNodes: ANY, deadline: NEVER };
const EXACT = { relative: 1e-9 };

function kindsOf(problem: Problem): Kinds {
  return groupKinds(new Instance(problem));
}

function withAlone(kinds: Kinds): Incumbent<readonly Piece[]> {
  const incumbent = new Incumbent<readonly Piece[]>();
  const alone = findAlone(kinds, ANY);
  if (alone !== null) incumbent.offer(alone.pieces, alone.ms);
  return incumbent;
}

function* drawMany(count: number, family: Omit<Family, "nodes" | "units">): Generator<Problem> {
  const memories = ["none", "loose", "tight"] as const;
  for (let seed = 0; seed < count; seed++) {
    const random = seededRandom(seed + 1000);
    const nodes = 2 + Math.floor(random() * 3);
    const units = 2 + Math.floor(random() * 5);
    yield drawProblem(random, { memory: memories[seed % 3] ?? "none", ...family, nodes, units });
  }
}

function truthOf(problem: Problem): { period: number; latency: number; nodes: number } {
  const all = listAllPlans(problem);
  return {
    period: Math.min(ANY, ...all.map((plan) => plan.periodMs)),
    latency: Math.min(ANY, ...all.map((plan) => plan.latencyMs)),
    nodes: Math.min(ANY, ...all.map((plan) => plan.nodes)),
  };
}

/** Rounded so far that only the order of sums is lost. */
function round(value: number): number {
  return Number.isFinite(value) ? Number(value.toPrecision(-Math.log10(EXACT.relative) + 1)) : value;
}

describe("counting alike blocks", () => {
  test.each(["none", "some", "all"] as const)("gives the optima of all objectives (tables: %s)", (tables) => {
    let seen = 0;
    for (const problem of drawMany(60, { blocks: "alike", links: "uniform", tables })) {
      const kinds = kindsOf(problem);
      if (!hasAlikeBlocks(kinds.instance)) continue;
      seen += 1;
      const truth = truthOf(problem);
      const period = withAlone(kinds);
      solvePeriodByBlocks(kinds, LIMITS, period);
      const latency = withAlone(kinds);
      new BlockLatency(kinds, NEVER).solve(ANY, latency);
      const several = packBlocks(kinds.instance, ANY, "nodes", NEVER)?.cost ?? ANY;
      const nodes = findAlone(kinds, ANY) === null ? several : 1;
      const found = { period: round(period.value), latency: round(latency.value), nodes };
      expect(found).toEqual({ period: round(truth.period), latency: round(truth.latency), nodes: truth.nodes });
    }
    expect(seen).toBeGreaterThan(50);
  });
});

describe("covers by integer programs", () => {
  test("give the optima where hops are equal, and true bounds where they are not", async () => {
    const solver = openHighs();
    const options = { ...LIMITS, solver };
    try {
      for (const links of ["uniform", "directed"] as const) {
        for (const problem of drawMany(16, { links, twins: true })) {
          const kinds = kindsOf(problem);
          if (!canCover(kinds)) continue;
          const truth = truthOf(problem);
          const incumbent = withAlone(kinds);
          await solvePeriodByCover(kinds, options, incumbent);
          if (links === "uniform") expect(round(incumbent.value)).toBe(round(truth.period));
          expect(incumbent.value).toBeGreaterThanOrEqual(truth.period * (1 - 1e-9));
          expect(incumbent.bound).toBeLessThanOrEqual(truth.period * (1 + 1e-9));
          const fewest = await findFewestByCover(kinds, ANY, options);
          expect(fewest.status === "found" ? fewest.pieces.length : ANY).toBe(truth.nodes);
        }
      }
    } finally {
      await solver.close();
    }
  });

  test("agree with the search over states on larger problems", async () => {
    const solver = openHighs();
    try {
      for (const seed of [1, 2]) {
        const problem = drawProblem(seededRandom(seed), { nodes: 9, units: 30, memory: "loose", links: "uniform" });
        const kinds = keepApart(new Instance(problem));
        const space = openStateSpace(kinds, 2 ** 12);
        expect(space).not.toBeNull();
        if (space === null) continue;
        const byStates = withAlone(kinds);
        solvePeriodByStates(space, LIMITS, byStates);
        const byCover = withAlone(kinds);
        await solvePeriodByCover(kinds, { ...LIMITS, solver }, byCover);
        expect(byCover.isProven).toBe(true);
        expect(round(byCover.value)).toBe(round(byStates.value));
      }
    } finally {
      await solver.close();
    }
  });

  test("leave what a solver cannot decide undecided", async () => {
    const solver = openHighs();
    try {
      expect((await solver.solve("this is no program", 1000, "any")).status).toBe("undecided");
      expect((await solver.solve("Minimize\n obj: x\nSubject To\n c: x >= 2\nEnd\n", 1000, "any")).status).toBe(
        "optimal",
      );
    } finally {
      await solver.close();
    }
  });
});

describe("search and bounds", () => {
  test("no bound is above an optimum, no plan below", () => {
    let hits = 0;
    let problems = 0;
    for (const links of ["uniform", "directed"] as const) {
      for (const problem of drawMany(60, { links, tables: "some" })) {
        const kinds = kindsOf(problem);
        const truth = truthOf(problem);
        const bound = boundPeriod(kinds, 0, ANY, ANY, NEVER);
        expect(bound).toBeLessThanOrEqual(truth.period * (1 + 1e-9));
        const incumbent = withAlone(kinds);
        incumbent.raise(bound);
        searchPlans(kinds, LIMITS, incumbent);
        expect(incumbent.value).toBeGreaterThanOrEqual(truth.period * (1 - 1e-9));
        expect(incumbent.bound).toBeLessThanOrEqual(truth.period * (1 + 1e-9));
        problems += 1;
        if (round(incumbent.value) === round(truth.period)) hits += 1;
      }
    }
    // Small problems are searched through.
    expect(hits / problems).toBeGreaterThan(0.95);
  });

  test("with copies, too", async () => {
    for (const problem of drawMany(40, { links: "directed", tables: "some" })) {
      if (problem.nodes.length > 3 || problem.units > 4) continue;
      const copied = { ...problem, replicas: 2 };
      const kinds = kindsOf(copied);
      const truth = truthOf(copied);
      expect(boundReplicatedPeriod(kinds)).toBeLessThanOrEqual(truth.period * (1 + 1e-9));
      for (const plan of await searchReplicas({ kinds, deadline: NEVER, solver: null })) {
        expect(plan.periodMs).toBeGreaterThanOrEqual(truth.period * (1 - 1e-9));
      }
    }
  });

  test("the latency's refinement proves the optimum of more nodes than could be counted together", () => {
    const problem = drawProblem(seededRandom(7), { nodes: 30, units: 40, memory: "loose", links: "directed" });
    const kinds = keepApart(new Instance(problem));
    const incumbent = withAlone(kinds);
    new LatencySolver(kinds, NEVER).solve(ANY, incumbent);
    expect(incumbent.isProven).toBe(true);
  });
});

describe("kinds of nodes", () => {
  test("nodes are one kind only when their links are alike, too", () => {
    const node = { unit_ms: [1, 1] };
    const base: Problem = {
      units: 2,
      nodes: ["a", "b", "c"].map((id) => ({ id, ...node })),
      links: { default: { latency_ms: 1, bytes_per_ms: 1 } },
      activation_bytes: 1,
      objective: "period",
    };
    const withPairs = (...pairs: [string, string][]): number =>
      kindsOf({
        ...base,
        links: {
          default: { latency_ms: 1, bytes_per_ms: 1 },
          pairs: pairs.map(([from, to]) => ({ from, to, latency_ms: 9, bytes_per_ms: 1 })),
        },
      }).size;
    expect(kindsOf(base).size).toBe(1);
    expect(withPairs(["a", "c"], ["b", "c"])).toBe(2);
    expect(withPairs(["a", "b"])).toBe(3);
    expect(withPairs(["a", "b"], ["b", "a"])).toBe(2);
    expect(withPairs(["a", "c"])).toBe(3);
  });
});
