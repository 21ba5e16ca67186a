import { describe, expect, it } from "vitest";
import { makeModel, makeProfile } from "../placement/testing.ts";
import { makeRandom } from "../shaper/index.ts";
import { describePlan, listPlans, parsePlanRules } from "./list-plans.ts";
import { makeVirtualCluster } from "./make-cluster.ts";

const shape = { like: "gpt2-124m", type: "q8_0" } as const;
const model = makeModel(shape);
const profile = makeProfile(shape);
const slowness = [1, 2, 4];
const { cluster, nodes } = makeVirtualCluster(
  model,
  slowness.map(() => profile),
  slowness,
  null,
);
const load = { streams: 4, requests: 8, promptTokens: 32, genTokens: 16, contextTokens: 64 };
const list = (rules: string) =>
  listPlans(parsePlanRules(rules), { model, cluster, nodes, load, random: makeRandom(5, "plans") });

describe("making plans", () => {
  it("covers all units once, on workers that are all different", async () => {
    const plans = await list("equal,memory,optimal,skewed,random:6");
    expect(plans.length).toBeGreaterThanOrEqual(9);
    expect(new Set(plans.map(({ stages }) => describePlan(stages))).size).toBe(plans.length);
    for (const { stages } of plans) {
      const units = stages.flatMap(({ first, end }) => Array.from({ length: end - first }, (_, i) => first + i));
      expect(units).toEqual(model.description.units.map((_, index) => index));
      expect(new Set(stages.map(({ worker }) => worker)).size).toBe(stages.length);
    }
  });

  it("gives a slow worker most where it is to be skewed, and the fast one most where it is to be best", async () => {
    const [skewed, optimal] = await list("skewed,optimal");
    const sizes = (plan: typeof skewed) =>
      (plan?.stages ?? []).toSorted((a, b) => a.worker - b.worker).map(({ first, end }) => end - first);
    const bad = sizes(skewed);
    expect(bad.toSorted((a, b) => a - b)).toEqual(bad);
    const [fast = 0, ...others] = sizes(optimal);
    expect(fast).toBeGreaterThan(Math.max(0, ...others));
  });

  it("draws the same random plans for the same seed", async () => {
    expect(await list("random:3")).toEqual(await list("random:3"));
  });

  it("refuses rules that there are not", () => {
    for (const rules of ["best", "random:0", "equal:2", ""])
      expect(() => parsePlanRules(rules)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});
