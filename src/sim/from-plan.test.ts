import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { type ModelPlan, planModel } from "../placement/index.ts";
import { makeCluster, makeLink, makeModel, makeNode, makeProfile } from "../placement/testing.ts";
import { listLinkChanges, listSlowdowns } from "./disturbances.ts";
import { makeSimCluster } from "./from-plan.ts";
import { generateWorkload } from "./generate-workload.ts";
import { runSimulation } from "./simulation.ts";
import { COORDINATOR } from "./types.ts";

const SHAPE = { layers: 12, embd: 512, heads: 8, ff: 2048, vocab: 4096 } as const;
const profile = makeProfile(SHAPE);
const nodes = [
  makeNode("a", profile),
  makeNode("b", profile, { slower: 1.7 }),
  makeNode("c", profile, { slower: 2.6 }),
];

async function plan(
  streams: number,
  latencyMs: number,
): Promise<{ plan: ModelPlan; cluster: ReturnType<typeof makeCluster> }> {
  const cluster = makeCluster(nodes, makeLink(latencyMs, 125_000));
  const workload = { streams, contextTokens: 512, meanContextTokens: 256, promptTokens: 1 };
  const made = await planModel(
    { model: makeModel(SHAPE), cluster, nodes, objective: "throughput", workload },
    { nowMs: () => 0 },
  );
  return { plan: made, cluster };
}

describe("makeSimCluster", () => {
  it("simulates the token rate that the planner predicts, where nothing disturbs", async () => {
    for (const [streams, latencyMs] of [
      [1, 0.1],
      [6, 0.1],
      [12, 0.5],
    ] as const) {
      const { plan: made, cluster } = await plan(streams, latencyMs);
      expect(made.feasible).toBe(true);
      // A window as wide as it takes: the planner knows nothing of it.
      const simulated = makeSimCluster({ plan: made, cluster, nodes, window: 64 });
      const times: number[][] = Array.from({ length: streams }, () => []);
      // All streams stand at the mean context that was planned for, in the middle of what is measured.
      const workload = generateWorkload({
        requests: streams,
        prompt: { type: "fixed", tokens: 56 },
        generated: { type: "fixed", tokens: 400 },
        arrivals: { type: "closed", streams },
      });
      runSimulation(simulated, workload, {
        observer: { onToken: (request, _index, atMs) => times[request]?.push(atMs) },
      });
      const rate = times.reduce((sum, own) => sum + 200_000 / (must(own[300], "token") - must(own[100], "token")), 0);
      const predicted = must(made.predicted, "prediction").tokens_per_s;
      expect(Math.abs(rate / predicted - 1), `${streams} streams: ${rate} for ${predicted}`).toBeLessThan(0.02);
    }
  });

  it("gives each stage its node, the bytes of its hop and its share of the KV", async () => {
    const { plan: made, cluster } = await plan(12, 0.1);
    const { pipelines, links } = makeSimCluster({ plan: made, cluster, nodes });
    const pipeline = must(pipelines[0], "pipeline");
    expect(pipeline.stages.length).toBeGreaterThan(1);
    expect(pipeline.stages.map(({ node }) => node)).toEqual(made.order);
    expect(pipeline.policy.slots).toBe(12);
    expect(pipeline.kvTokens).toBe(12 * 512);
    expect(must(pipeline.stages[1], "stage").bytesPerRow).toBe(4 * SHAPE.embd + 64);
    const kvBytes = pipeline.stages.reduce((sum, stage) => sum + stage.kvBytesPerToken, 0);
    expect(kvBytes * 12 * 512).toBeCloseTo(
      made.stages.reduce((sum, stage) => sum + stage.kv_bytes, 0),
      3,
    );
    // The coordinator is beside the first stage; from the last one tokens come over a link.
    const toFirst = links.find(({ from, to }) => from === COORDINATOR && to === made.order[0]);
    expect(toFirst).toBeUndefined();
    expect(links.find(({ from, to }) => from === made.order.at(-1) && to === COORDINATOR)?.latencyMs).toBe(0.1);
  });

  it("refuses a plan that cannot be run, of a node without costs, or that loses a node for good", async () => {
    const { plan: made, cluster } = await plan(12, 0.1);
    const refused = expect.objectContaining({ code: "PLAN_INVALID" }) as Error;
    expect(() => makeSimCluster({ plan: { ...made, feasible: false }, cluster, nodes })).toThrow(refused);
    expect(() => makeSimCluster({ plan: made, cluster, nodes: nodes.slice(1) })).toThrow(refused);
    const failures = [{ node: must(made.order[0], "node"), atS: 1, backAfterS: null }];
    expect(() => makeSimCluster({ plan: made, cluster: { ...cluster, failures }, nodes })).toThrow(refused);
    const back = makeSimCluster({
      plan: made,
      cluster: { ...cluster, failures: [{ ...must(failures[0], "failure"), backAfterS: 10 }] },
      nodes,
    });
    expect(back.incidents).toMatchObject([{ type: "fail", atMs: 1000, detectMs: 3000 }]);
    expect(back.incidents?.[0]?.pauseMs).toBeGreaterThanOrEqual(7000);
  });
});

describe("slowdowns of a cluster's file", () => {
  const slowdown = (factor: number, fromS: number, untilS: number | null, everyS: number | null = null) =>
    ({ target: { type: "node", node: "a" }, factor, fromS, untilS, everyS }) as const;

  it("multiply where they overlap, and end", () => {
    const all = [
      slowdown(2, 1, 5),
      slowdown(3, 3, null),
      { ...slowdown(9, 0, null), target: { type: "node", node: "b" } as const },
    ];
    expect(listSlowdowns(all, { node: "a" })).toEqual([
      { atMs: 1000, factor: 2 },
      { atMs: 3000, factor: 6 },
      { atMs: 5000, factor: 3 },
    ]);
  });

  it("come again where they are said to", () => {
    const pieces = listSlowdowns([slowdown(2, 1, 2, 10)], { node: "a" });
    expect(pieces.slice(0, 4)).toEqual([
      { atMs: 1000, factor: 2 },
      { atMs: 2000, factor: 1 },
      { atMs: 11_000, factor: 2 },
      { atMs: 12_000, factor: 1 },
    ]);
  });

  it("make latency and transfer of a link longer, in the direction that is named", () => {
    const all = [
      { target: { type: "link", from: "a", to: "b" }, factor: 10, fromS: 2, untilS: null, everyS: null },
    ] as const;
    const link = { latencyMs: 1, bytesPerMs: 1000 };
    expect(listLinkChanges(all, { from: "a", to: "b" }, link)).toEqual([
      { atMs: 2000, latencyMs: 10, bytesPerMs: 100 },
    ]);
    expect(listLinkChanges(all, { from: "b", to: "a" }, link)).toEqual([]);
  });
});
