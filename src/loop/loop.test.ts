import { describe, expect, test } from "vitest";
import { planModel } from "../placement/index.ts";
import { countRate, type LoopStory, measurePlan, tellStory } from "./testing.ts";
import { makeCosts, slowLink, slowNode } from "./testing-scenarios.ts";
import { correctCosts } from "./correct-costs.ts";
import { makeLink } from "../placement/testing.ts";

const namesOf = ({ decisions }: LoopStory): string[] => decisions.map(({ event }) => event.name);

describe("a node that becomes slower", () => {
  const costs = makeCosts();
  const scenario = { costs, slowdowns: [slowNode("a", 2, 20)], seconds: 60, noise: 0.03 };

  test("is found within 30 decode steps or 5 s, and the plan that follows is as good as the best one", async () => {
    const story = await tellStory(scenario);
    const found = story.decisions.find(({ event }) => event.name === "loop.node_slow");
    expect(found?.event.node).toBe("a");
    const atMs = found?.event.atMs ?? Number.POSITIVE_INFINITY;
    const steps = story.decodeMs.filter((ms) => ms > 20_000 && ms <= atMs).length;
    expect(steps <= 30 || atMs <= 25_000).toBe(true);
    expect(found?.event.figures["factor"]).toBeCloseTo(2, 0);
    expect(story.moves).toHaveLength(1);
    const truth = correctCosts(costs, (node) => (node === "a" ? { step: () => 2, unit: () => 2 } : null), []);
    const oracle = await planModel(truth, { nowMs: () => 0 });
    const best = measurePlan({ ...scenario, noise: 0 }, oracle, 40_000, 15_000);
    expect(countRate(story.tokensMs, 45_000, 60_000)).toBeGreaterThanOrEqual(0.95 * best);
    const outcome = story.decisions.find(({ event }) => event.name === "loop.outcome")?.event;
    expect(outcome?.atMs).toBeGreaterThanOrEqual(story.planSinceMs + 30_000);
    expect(outcome?.figures["came_true"]).toBe(true);
    expect(Math.abs(Number(outcome?.figures["error"]))).toBeLessThan(0.05);
  });

  test("is said and left alone in mode advise, and not looked at in mode off", async () => {
    const advised = await tellStory({ ...scenario, seconds: 35, options: { mode: "advise" } });
    expect(namesOf(advised)).toContain("loop.advise");
    expect(advised.moves).toHaveLength(0);
    const off = await tellStory({ ...scenario, seconds: 5, options: { mode: "off" } });
    expect(off.decisions).toHaveLength(0);
  });

  test("by a little is found, and not worth a move", async () => {
    const story = await tellStory({ ...scenario, slowdowns: [slowNode("a", 1.2, 20)], seconds: 60 });
    expect(namesOf(story)).toContain("loop.node_slow");
    expect(story.moves).toHaveLength(0);
    const reasons = story.decisions.map(({ event }) => event.figures["reason"]);
    expect(reasons).toContain("gain");
  });
});

test("noise of a tenth for ten minutes moves nothing, and little is said", async () => {
  const story = await tellStory({ costs: makeCosts(), seconds: 600, noise: 0.1 });
  expect(story.moves).toHaveLength(0);
  expect(namesOf(story).filter((name) => name.startsWith("loop.node_s") || name.startsWith("loop.link_s"))).toEqual([]);
  expect(story.decisions.length).toBeLessThan(20);
});

test("a node that is slow every other half minute causes one move at most", async () => {
  const slowdowns = [slowNode("a", 2, 30, 60, 60)];
  const story = await tellStory({ costs: makeCosts(), slowdowns, seconds: 330, noise: 0.03 });
  expect(namesOf(story).filter((name) => name === "loop.node_slow").length).toBeGreaterThan(2);
  expect(story.moves.length).toBeLessThanOrEqual(1);
});

test("single slow steps do not change what is known of a node", async () => {
  const story = await tellStory({
    costs: makeCosts(),
    seconds: 60,
    noise: 0.03,
    spoil: (step, index) =>
      index % 17 === 0
        ? { ...step, stages: step.stages.map((times) => ({ ...times, computeMs: 20 * times.computeMs })) }
        : step,
  });
  expect(story.moves).toHaveLength(0);
  for (const { factor } of story.loop.nodeFactors.filter(({ phase }) => phase === "decode")) {
    expect(Math.abs(factor - 1)).toBeLessThan(0.1);
  }
});

test("a link that drops to a tenth is found as the link's fault", async () => {
  const costs = makeCosts({}, makeLink(0.3, 5000));
  const plan = await planModel(costs, { nowMs: () => 0 });
  const [from = "", to = ""] = plan.order;
  const story = await tellStory({ costs, slowdowns: [slowLink(from, to, 10, 20)], seconds: 45, noise: 0.03 });
  const found = story.decisions.find(({ event }) => event.name === "loop.link_slow");
  expect(found?.event.figures).toMatchObject({ from, to });
  expect(found?.event.atMs).toBeLessThan(25_000);
  expect(namesOf(story)).not.toContain("loop.node_slow");
  expect(namesOf(story)).not.toContain("loop.load_more");
});

test("more streams are found as load, and move nothing", async () => {
  const costs = makeCosts({ streams: 2 });
  const story = await tellStory({ costs, streams: { atS: 40, count: 8 }, seconds: 110, noise: 0.03 });
  expect(story.moves).toHaveLength(0);
  expect(namesOf(story)).toContain("loop.load_more");
  expect(namesOf(story)).not.toContain("loop.node_slow");
  expect(namesOf(story)).not.toContain("loop.link_slow");
});
