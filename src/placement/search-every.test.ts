import { describe, expect, it } from "vitest";
import { planModel } from "./plan-model.ts";
import type { PlacementNode, PlanModelInput } from "./plan-types.ts";
import { makeCluster, makeLink, makeModel, makeNode, makeProfile } from "./testing.ts";

const SHAPE = { arch: "llama", layers: 6, dim: 256, heads: 4 } as const;
const WORKLOAD = { streams: 4, contextTokens: 512 };
const options = { nowMs: () => 0 };

function input(nodes: readonly PlacementNode[], change: Partial<PlanModelInput> = {}): PlanModelInput {
  const cluster = makeCluster(nodes, makeLink(0.1, 1e6));
  const model = makeModel(SHAPE);
  return { model, cluster, nodes, objective: "throughput", workload: WORKLOAD, everyNode: true, ...change };
}

function alike(count: number): PlacementNode[] {
  const first = makeNode("n1", makeProfile(SHAPE));
  return Array.from({ length: count }, (_, index) => ({ ...first, name: `n${index + 1}` }));
}

describe("a plan of every node", () => {
  it("gives each of them a stage, also where one alone would be quicker, and proves it for nodes that are alike", async () => {
    const plan = await planModel(input(alike(3)), options);
    expect(plan.order).toEqual(["n1", "n2", "n3"]);
    expect(plan.stages).toHaveLength(3);
    expect(plan.bound?.proven).toBe(true);
    const free = await planModel(input(alike(3), { everyNode: false }), options);
    expect(free.predicted?.tokens_per_s ?? 0).toBeGreaterThanOrEqual((plan.predicted?.tokens_per_s ?? 0) * (1 - 1e-9));
  });

  it("finds the order of unlike nodes in which no other cuts are better", async () => {
    const profile = makeProfile(SHAPE);
    const nodes = [makeNode("slow", profile, { slower: 3 }), makeNode("a", profile), makeNode("b", profile)];
    const plan = await planModel(input(nodes), options);
    expect([...plan.order].sort()).toEqual(["a", "b", "slow"]);
    const widthOf = (name: string): number => {
      const stage = plan.stages.find(({ node }) => node === name);
      return (stage?.end ?? 0) - (stage?.first ?? 0);
    };
    expect(widthOf("slow")).toBeLessThanOrEqual(Math.min(widthOf("a"), widthOf("b")));
    expect(plan.bound?.best_possible ?? 0).toBeGreaterThanOrEqual(plan.bound?.found ?? 1);
  });

  it("says why there is none for more nodes than stages", async () => {
    const plan = await planModel(input(alike(9)), options);
    expect(plan.feasible).toBe(false);
    expect(plan.infeasible_because?.words).toContain("9 nodes");
  });

  it("refuses what does not go with it, and more unlike nodes than have orders that can be tried", async () => {
    await expect(planModel(input(alike(2), { objective: "latency" }), options)).rejects.toMatchObject({
      code: "USAGE",
    });
    const profile = makeProfile(SHAPE);
    const many = Array.from({ length: 8 }, (_, index) => makeNode(`n${index}`, profile, { slower: 1 + index / 10 }));
    await expect(planModel(input(many), options)).rejects.toMatchObject({ code: "USAGE" });
  });
});
