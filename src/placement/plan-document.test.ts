import { beforeAll, describe, expect, test } from "vitest";
import { planModel } from "./plan-model.ts";
import type { ModelPlan, PlanModelInput } from "./plan-types.ts";
import { readModelPlan } from "./read-plan.ts";
import { renderPlanPage } from "./page.ts";
import { makeCluster, makeLink, makeModel, makeNode, makeProfile } from "./testing.ts";
import { describeModelPlan } from "./words.ts";

const SHAPE = { like: "gpt2-124m", layers: 4, vocab: 4096 } as const;
const PROFILE = makeProfile(SHAPE);
const NODES = [
  makeNode("a", PROFILE, { memoryBytes: 2 ** 30 }),
  makeNode("b", PROFILE, { slower: 1.5, memoryBytes: 2 ** 30 }),
  makeNode("slow", PROFILE, { slower: 90, memoryBytes: 2 ** 28 }),
];
const INPUT: PlanModelInput = {
  model: makeModel(SHAPE),
  cluster: makeCluster(NODES, makeLink(0.02, 1e6)),
  nodes: NODES,
  objective: "throughput",
  workload: { streams: 8, contextTokens: 256 },
  compare: true,
  growth: true,
  notes: ["<script>alert(1)</script>"],
};
const STILL = { nowMs: () => 0 };

describe("a plan's document", () => {
  let plan: ModelPlan;
  let alone: ModelPlan;
  let none: ModelPlan;
  beforeAll(async () => {
    plan = await planModel(INPUT, STILL);
    const far = { ...INPUT, cluster: makeCluster(NODES, makeLink(400, 100)), compare: false, growth: false };
    alone = await planModel(far, STILL);
    none = await planModel({ ...INPUT, workload: { streams: 4096, contextTokens: 1024 } }, STILL);
  });

  test("is read back as it was written, with keys of later releases left out", () => {
    for (const one of [plan, alone, none]) {
      expect(readModelPlan(JSON.stringify(one))).toEqual(one);
      expect(readModelPlan({ ...one, later: 1 })).toEqual(one);
    }
  });

  test.each([
    ["no JSON", () => "{"],
    ["another schema", () => ({ ...plan, schema: "noodle.plan.v1" })],
    ["no schema", () => ({})],
    ["nothing", () => null],
    ["a split that is not that of its stages", () => ({ ...plan, split: "0:6" })],
    ["an order that is not that of its stages", () => ({ ...plan, order: [...plan.order].reverse() })],
    ["a unit left out", () => ({ ...plan, stages: plan.stages.slice(1) })],
    [
      "a node in two stages",
      () => {
        const stages = plan.stages.map((stage) => ({ ...stage, node: "a" }));
        return { ...plan, stages, order: stages.map(() => "a") };
      },
    ],
    ["a negative figure", () => ({ ...plan, solve_ms: -1 })],
    ["no policy", () => ({ ...plan, policy: null })],
    ["a split that is none", () => ({ ...plan, split: "all" })],
  ])("with %s is refused", (_what, make: () => unknown) => {
    expect(() => readModelPlan(make())).toThrowError(expect.objectContaining({ code: "PLAN_INVALID" }));
  });

  test("says in words: each stage, what binds, a machine alone, the second best, one more machine, other rules", () => {
    const words = describeModelPlan(plan).join("\n");
    for (const node of plan.order) expect(words).toContain(`  ${node}: units`);
    for (const part of [
      "What binds",
      "best machine alone",
      "Second best",
      "One more machine",
      "other rules",
      "Left out: slow",
    ]) {
      expect(words).toContain(part);
    }
    expect(describeModelPlan(alone).join("\n")).toContain("A machine alone is best here");
    expect(describeModelPlan(alone).join("\n")).toContain("the best of several machines together");
    expect(describeModelPlan(none)[0]).toBe("There is no plan.");
  });

  test("of fewest nodes does not call a machine alone the quickest, nor a rule's cut the best", async () => {
    const fewest = await planModel({ ...INPUT, objective: "fewest_nodes", compare: false, growth: false }, STILL);
    const words = describeModelPlan(fewest).join("\n");
    expect(fewest.order).toHaveLength(1);
    expect(words).not.toContain("alone is best");
    expect(fewest.left_out.map(({ words }) => words).join()).not.toContain("no plan");
    const rule = await planModel({ ...INPUT, baseline: "equal", compare: false, growth: false }, STILL);
    expect(rule.stages.map(({ why }) => why).join()).toContain("the plan would be better");
    expect(rule.candidates).toEqual([]);
    expect(renderPlanPage(rule)).not.toContain("Sizes of micro-batches");
    expect(readModelPlan(JSON.stringify(rule))).toEqual(rule);
  });

  test("has a page that needs nothing from elsewhere, in light and dark, with a cell for every unit", () => {
    const page = renderPlanPage(plan);
    expect(page).not.toMatch(/(src|href)=|url\(|@import|<script/);
    expect(page).toContain("&lt;script&gt;");
    expect(page).toContain("prefers-color-scheme:dark");
    const strip = page.slice(page.indexOf('class="strip"'), page.indexOf("<ul>"));
    expect(strip.match(/<i><\/i>/g)).toHaveLength(plan.model.units);
    expect(page.indexOf('class="lead"')).toBeLessThan(page.indexOf("<table"));
    expect(renderPlanPage(none)).toContain("There is no plan.");
  });
});
