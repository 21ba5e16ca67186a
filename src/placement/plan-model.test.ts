import { describe, expect, test } from "vitest";
import { must } from "../common/index.ts";
import { formatSplit } from "../model/index.ts";
import { seededRandom } from "../planner/testing.ts";
import type { Cluster } from "./cluster-types.ts";
import { findLink, hopMs } from "./links.ts";
import { countStageMemory } from "./memory.ts";
import { planModel } from "./plan-model.ts";
import type { ModelPlan, PlacementModel, PlacementNode, PlanModelInput } from "./plan-types.ts";
import { predictTtft } from "./predict.ts";
import { Setup } from "./setup.ts";
import { makeCluster, makeLink, makeModel, makeNode, makeProfile } from "./testing.ts";
import { compileWorkload, type CompiledWorkload, listBatchings, padRows } from "./workload.ts";

const STILL = { nowMs: () => 0 };
const SMALL = { like: "gpt2-124m", layers: 3, vocab: 4096 } as const;
const MODEL = makeModel(SMALL);
const PROFILE = makeProfile(SMALL);
const ROUGH = makeProfile(SMALL, { memoryGbPerS: 60, computeGflops: 60 });

interface Place {
  readonly node: PlacementNode;
  readonly first: number;
  readonly end: number;
}

/** Every order of every choice of nodes with every cut. */
function listAllPlaces(nodes: readonly PlacementNode[], units: number): Place[][] {
  const plans: Place[][] = [];
  const grow = (places: Place[], first: number): void => {
    if (first === units) {
      plans.push(places);
      return;
    }
    for (const node of nodes) {
      if (places.some((place) => place.node === node)) continue;
      for (let end = first + 1; end <= units; end++) grow([...places, { node, first, end }], end);
    }
  };
  grow([], 0);
  return plans;
}

/** From the definitions: no problem document, no planner. */
function valueByHand(
  model: PlacementModel,
  cluster: Cluster,
  workload: CompiledWorkload,
  places: readonly Place[],
): { tokensPerS: number; singleMs: number } | null {
  for (const { node, first, end } of places) {
    const memory = countStageMemory(model, workload, { first, end });
    const needed = memory.weightsBytes + memory.kvBytes + memory.reserveBytes;
    if (node.memoryBytes !== null && needed > node.memoryBytes) return null;
  }
  const timeOf = (rows: number, inFlight: number): number => {
    const query = { phase: "decode", rows: padRows(workload, rows), context: workload.meanContextTokens } as const;
    const stageMs = places.map((place) => place.node.costs.predictStage(place, query).ms);
    const bytes = rows * (model.description.embeddingLength * 4 + 64);
    const links = places
      .slice(1)
      .map((place, index) => findLink(cluster, must(places[index], "place").node.name, place.node.name));
    const [first, last] = [must(places[0], "first").node.name, must(places.at(-1), "last").node.name];
    const { coordinator } = cluster;
    const endsMs =
      coordinator === null
        ? first === last
          ? 0
          : hopMs(findLink(cluster, last, first), rows * 64)
        : hopMs(findLink(cluster, coordinator, first), rows * 64) +
          hopMs(findLink(cluster, last, coordinator), rows * 64);
    const round =
      stageMs.reduce((a, b) => a + b, 0) + links.reduce((sum, link) => sum + hopMs(link, bytes), 0) + endsMs;
    const period = Math.max(...stageMs, ...links.map((link) => bytes / link.bytesPerMs));
    return Math.max(round, inFlight * period);
  };
  const best = Math.min(...listBatchings(workload).map(({ rows, inFlight }) => timeOf(rows, inFlight)));
  return { tokensPerS: (1000 * workload.streams) / best, singleMs: timeOf(1, 1) };
}

function drawCase(seed: number): PlanModelInput & { readonly compiled: CompiledWorkload } {
  const random = seededRandom(seed);
  const pick = <T>(items: readonly T[]): T => must(items[Math.floor(random() * items.length)], "item");
  const workload = {
    streams: pick([1, 2, 3, 5, 8]),
    contextTokens: pick([64, 512]),
    determinism: pick(["recorded", "strict"] as const),
    align: pick([1, 2, 4]),
  };
  const compiled = compileWorkload(workload, MODEL);
  const whole = countStageMemory(MODEL, compiled, { first: 0, end: 5 });
  const all = whole.weightsBytes + whole.kvBytes;
  const isTight = random() < 0.5;
  const nodes = Array.from({ length: 2 + Math.floor(random() * 2) }, (_, index) =>
    makeNode(`n${index}`, pick([PROFILE, ROUGH]), {
      slower: pick([1, 1, 2, 3, 6]),
      memoryBytes: isTight ? Math.floor(whole.reserveBytes + all * (0.35 + random() * 0.8)) : null,
    }),
  );
  const drawLink = () => makeLink(pick([0, 0.05, 0.3, 2]), pick([1e4, 1.25e5, 1e9]));
  const pairs = nodes.flatMap((from) =>
    nodes.flatMap((to) => (from !== to && random() < 0.5 ? [{ from: from.name, to: to.name, link: drawLink() }] : [])),
  );
  const coordinator = random() < 0.4 ? "n0" : null;
  const cluster = makeCluster(nodes, drawLink(), pairs, coordinator);
  return { model: MODEL, cluster, nodes, objective: "throughput", workload, compiled };
}

describe("planModel against all plans, valued by hand", () => {
  test.each(Array.from({ length: 40 }, (_, index) => index + 1))(
    "finds the most tokens per second (seed %i)",
    async (seed) => {
      const { compiled, ...input } = drawCase(seed);
      const plan = await planModel(input, STILL);
      const all = listAllPlaces(input.nodes, 5).flatMap(
        (places) => valueByHand(MODEL, input.cluster, compiled, places) ?? [],
      );
      const most = Math.max(0, ...all.map((value) => value.tokensPerS));
      if (most === 0) {
        expect(plan.feasible).toBe(false);
        expect(plan.infeasible_because?.words).not.toBe("");
        return;
      }
      const { predicted, bound } = plan;
      const found = must(predicted, "figures").tokens_per_s;
      // Where the ways to the coordinator differ, the search is no proof; the bound still is one.
      if (must(bound, "bound").proven || input.cluster.coordinator === null) expect(found / most).toBeCloseTo(1, 6);
      expect(found).toBeLessThanOrEqual(most * (1 + 1e-9));
      expect(found).toBeGreaterThanOrEqual(most * 0.97);
      expect(must(bound, "bound").best_possible).toBeGreaterThanOrEqual(most * (1 - 1e-9));
      if (input.cluster.coordinator === null) expect(must(bound, "bound").proven).toBe(true);
      checkConsistent(plan, input, compiled);
    },
  );

  test.each(Array.from({ length: 15 }, (_, index) => index + 101))(
    "finds the least latency of one stream (seed %i)",
    async (seed) => {
      const { compiled, ...input } = drawCase(seed);
      const plan = await planModel({ ...input, objective: "latency" }, STILL);
      const all = listAllPlaces(input.nodes, 5).flatMap(
        (places) => valueByHand(MODEL, input.cluster, compiled, places) ?? [],
      );
      if (all.length === 0) {
        expect(plan.feasible).toBe(false);
        return;
      }
      const least = Math.min(...all.map((value) => value.singleMs));
      expect(must(plan.bound, "bound").found / least).toBeCloseTo(1, 6);
      expect(must(plan.bound, "bound").proven).toBe(true);
      checkConsistent(plan, input, compiled);
    },
  );
});

/** The plan's figures are those of its own stages. */
function checkConsistent(plan: ModelPlan, input: PlanModelInput, compiled: CompiledWorkload): void {
  const places = plan.stages.map((stage) => ({
    node: must(
      input.nodes.find((node) => node.name === stage.node),
      stage.node,
    ),
    first: stage.first,
    end: stage.end,
  }));
  expect(plan.split).toBe(formatSplit(places));
  expect(plan.order).toEqual(places.map((place) => place.node.name));
  const value = must(valueByHand(input.model, input.cluster, compiled, places), "plan that fits");
  expect(must(plan.predicted, "figures").tokens_per_s).toBeCloseTo(value.tokensPerS, 6);
  for (const stage of plan.stages) {
    const bytes = stage.weights_bytes + stage.kv_bytes + stage.reserve_bytes;
    expect(bytes).toBeLessThanOrEqual(stage.memory_bytes ?? Number.POSITIVE_INFINITY);
    expect(stage.busy_ratio).toBeLessThanOrEqual(1);
  }
}

describe("a plan", () => {
  const twins = [makeNode("a", PROFILE), makeNode("b", PROFILE)];
  const plan = (
    nodes: readonly PlacementNode[],
    cluster: Cluster,
    more: Partial<PlanModelInput> = {},
  ): Promise<ModelPlan> =>
    planModel(
      { model: MODEL, cluster, nodes, objective: "throughput", workload: { streams: 8, contextTokens: 256 }, ...more },
      STILL,
    );

  test("is one machine alone where every hop costs more than it brings, and says what several would give", async () => {
    const far = makeCluster(twins, makeLink(500, 100));
    const answer = await plan(twins, far);
    expect(answer.order).toHaveLength(1);
    expect(answer.alternatives[0]?.order).toHaveLength(2);
    expect(answer.alternatives[0]?.tokens_per_s).toBeLessThan(must(answer.predicted, "figures").tokens_per_s);
    expect(answer.hops).toEqual([]);
  });

  test("takes both of two equal machines on a quick link, and gains on one alone", async () => {
    const answer = await plan(twins, makeCluster(twins, makeLink(0.01, 1e6)));
    expect(answer.order).toHaveLength(2);
    expect(must(answer.predicted, "figures").tokens_per_s).toBeGreaterThan(
      must(answer.alone[0], "alone").tokens_per_s ?? 0,
    );
    expect(must(answer.policy, "policy").decode_in_flight).toBeGreaterThan(1);
  });

  test("leaves out a node that only slows it down, with a reason", async () => {
    const nodes = [...twins, makeNode("slow", PROFILE, { slower: 200 })];
    const answer = await plan(nodes, makeCluster(nodes, makeLink(0.01, 1e6)));
    expect(answer.left_out.map((one) => one.node)).toEqual(["slow"]);
  });

  test("uses no more nodes than memory asks for with the objective fewest_nodes", async () => {
    const memory = countStageMemory(MODEL, compileWorkload({ streams: 8, contextTokens: 256 }, MODEL), {
      first: 0,
      end: 5,
    });
    const half = Math.floor(memory.reserveBytes + 0.8 * (memory.weightsBytes + memory.kvBytes));
    const nodes = ["a", "b", "c"].map((name) => makeNode(name, PROFILE, { memoryBytes: half }));
    const answer = await plan(nodes, makeCluster(nodes, makeLink(0.01, 1e6)), { objective: "fewest_nodes" });
    expect(answer.order).toHaveLength(2);
    expect(answer.bound).toMatchObject({ unit: "nodes", found: 2, best_possible: 2, proven: true });
    const roomy = await plan(twins, makeCluster(twins), { objective: "fewest_nodes" });
    expect(roomy.order).toHaveLength(1);
  });

  test("of no memory names what is short, and each machine what it lacks", async () => {
    const nodes = [makeNode("a", PROFILE, { memoryBytes: 2 ** 20 }), makeNode("b", PROFILE, { memoryBytes: 2 ** 20 })];
    const answer = await plan(nodes, makeCluster(nodes));
    expect(answer.feasible).toBe(false);
    expect(answer.split).toBeNull();
    expect(answer.alone.every((one) => !one.fits && one.short_bytes > 0)).toBe(true);
    expect(must(answer.infeasible_because, "reason").remedies.length).toBeGreaterThan(0);
  });

  test("that only a long context makes impossible names the context that would do", async () => {
    const workload = { streams: 64, contextTokens: 1024 };
    const memory = countStageMemory(MODEL, compileWorkload(workload, MODEL), { first: 0, end: 5 });
    const memoryBytes = Math.floor(memory.reserveBytes + memory.weightsBytes + memory.kvBytes / 2);
    const nodes = [makeNode("a", PROFILE, { memoryBytes })];
    const answer = await plan(nodes, makeCluster(nodes), { workload });
    const context = /--context (\d+)/.exec(must(answer.infeasible_because, "reason").remedies.join(" "))?.[1];
    const shorter = { ...workload, contextTokens: Number(context) };
    expect((await plan(nodes, makeCluster(nodes), { workload: shorter })).feasible).toBe(true);
  });

  test("with a front has no point that another is better than", async () => {
    const nodes = [makeNode("a", PROFILE), makeNode("b", PROFILE, { slower: 1.5 }), makeNode("c", ROUGH)];
    const answer = await plan(nodes, makeCluster(nodes, makeLink(0.3, 1e5)), { objective: "pareto" });
    const points = answer.alternatives;
    for (const point of points) {
      expect(point.tokens_per_s).toBeLessThanOrEqual(must(answer.predicted, "figures").tokens_per_s * (1 + 1e-9));
      const isWorse = points.some(
        (other) =>
          other !== point && other.tokens_per_s >= point.tokens_per_s && other.single_itl_ms <= point.single_itl_ms,
      );
      expect(isWorse).toBe(false);
    }
    expect(points.length).toBeGreaterThan(0);
  });

  test("computes whole row-class blocks when bits must not depend on what runs beside", async () => {
    const input = { workload: { streams: 6, contextTokens: 256, determinism: "strict", align: 4 } as const };
    const answer = await plan(twins, makeCluster(twins, makeLink(0.01, 1e6)), input);
    const policy = must(answer.policy, "policy");
    expect(policy.align).toBe(4);
    expect(policy.max_decode_rows % 4).toBe(0);
    expect(policy.slots % 4).toBe(0);
    const free = await plan(twins, makeCluster(twins, makeLink(0.01, 1e6)), {
      workload: { streams: 6, contextTokens: 256 },
    });
    expect(must(free.predicted, "figures").tokens_per_s).toBeGreaterThanOrEqual(
      must(answer.predicted, "figures").tokens_per_s,
    );
  });

  test("is at least as good as every other rule, and says what one more machine would bring", async () => {
    const nodes = [
      makeNode("a", PROFILE, { memoryBytes: 2 ** 30 }),
      makeNode("b", PROFILE, { slower: 2, memoryBytes: 2 ** 29 }),
    ];
    const answer = await plan(nodes, makeCluster(nodes, makeLink(0.05, 1e5)), { compare: true, growth: true });
    const rows = must(answer.baselines, "baselines");
    expect(rows).toHaveLength(9);
    expect(rows.filter((row) => row.feasible).length).toBeGreaterThan(4);
    for (const row of rows)
      if (row.ours_better_by !== null) expect(row.ours_better_by).toBeGreaterThanOrEqual(1 - 1e-9);
    const growth = must(answer.growth, "growth");
    expect(growth.map((one) => one.like).sort()).toEqual(["a", "b"]);
    for (const one of growth) expect(one.better_by).toBeGreaterThanOrEqual(1);
  });

  test("follows another rule when asked, with the bound of its own search", async () => {
    const nodes = [makeNode("a", PROFILE), makeNode("b", PROFILE, { slower: 4 })];
    const cluster = makeCluster(nodes, makeLink(0.05, 1e5));
    const [ours, equal] = [await plan(nodes, cluster), await plan(nodes, cluster, { baseline: "equal" })];
    expect(equal.algorithm).toBe("baseline equal");
    expect(equal.order).toEqual(["a", "b"]);
    expect(must(equal.bound, "bound").best_possible).toBeCloseTo(must(ours.bound, "bound").best_possible, 9);
    await expect(plan(nodes, cluster, { baseline: "best" })).rejects.toMatchObject({ code: "USAGE" });
  });

  test("depends on its input alone", async () => {
    const cluster = makeCluster(twins, makeLink(0.01, 1e6));
    expect(await plan(twins, cluster)).toEqual(await plan(twins, cluster));
  });

  test.each([
    { streams: 0, contextTokens: 256 },
    { streams: 1.5, contextTokens: 256 },
    { streams: 1, contextTokens: 1 },
    { streams: 1, contextTokens: 256, promptTokens: 256 },
  ])("refuses a workload out of range (%o)", async (workload) => {
    await expect(plan(twins, makeCluster(twins), { workload })).rejects.toMatchObject({ code: "USAGE" });
  });

  test("refuses a longer context than the model was made for", async () => {
    const workload = { streams: 1, contextTokens: 2 ** 20 };
    await expect(plan(twins, makeCluster(twins), { workload })).rejects.toMatchObject({ code: "CONTEXT_EXCEEDED" });
  });
});

test("the time to the first token is that of two chunks through two stages, by hand", () => {
  const nodes = [makeNode("a", PROFILE), makeNode("b", PROFILE, { slower: 3 })];
  const link = makeLink(2, 1000);
  const workload = compileWorkload({ streams: 1, contextTokens: 512, promptTokens: 80 }, MODEL);
  const setup = new Setup(MODEL, makeCluster(nodes, link), nodes, workload);
  const places = [
    { node: "a", first: 0, end: 2 },
    { node: "b", first: 2, end: 5 },
  ];
  const [a, b] = places.map(
    (place) => (rows: number, context: number) =>
      setup.node(place.node).costs.predictStage(place, { phase: "prefill", rows, context }).ms,
  ) as [(rows: number, context: number) => number, (rows: number, context: number) => number];
  const transfer = (rows: number): number => (rows * (768 * 4 + 64)) / 1000;
  const sentFirst = a(64, 0) + transfer(64);
  const sentSecond = Math.max(a(64, 0) + a(16, 64), sentFirst) + transfer(16);
  const doneFirst = sentFirst + 2 + b(64, 0);
  const doneSecond = Math.max(doneFirst, sentSecond + 2) + b(16, 64);
  expect(predictTtft(setup, places, 64).ttftMs).toBeCloseTo(doneSecond + 2 + 64 / 1000, 9);
});

test("a model's experts count as far as they are met, its windows as far as they are kept", () => {
  const windowed = makeModel({ like: "gemma3-270m", layers: 6 });
  const long = { streams: 2, contextTokens: 8192 };
  const range = { first: 0, end: windowed.description.units.length };
  const whole = countStageMemory(windowed, compileWorkload(long, windowed), range);
  const kept = countStageMemory(windowed, compileWorkload({ ...long, windowedCache: true }, windowed), range);
  expect(kept.kvBytes).toBeLessThan(whole.kvBytes);
  expect(kept.weightsBytes).toBe(whole.weightsBytes);
});
