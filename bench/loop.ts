import { median, quantile } from "../src/common/index.ts";
import { correctCosts } from "../src/loop/correct-costs.ts";
import { countRate, measurePlan, tellStory } from "../src/loop/testing.ts";
import { makeCosts, slowNode } from "../src/loop/testing-scenarios.ts";
import { planModel } from "../src/placement/index.ts";
import type { BenchContext } from "./lib.ts";

const bench = "loop";
const SLOW_AT_MS = 20_000;
const END_MS = 60_000;
const SCENARIOS = [
  { node: "a", factor: 1.5 },
  { node: "a", factor: 2 },
  { node: "a", factor: 4 },
  { node: "b", factor: 2 },
  { node: "b", factor: 4 },
];
const DETECT_STEPS = 30;
const ORACLE_SHARE = 0.95;

/** How soon the loop finds a node that becomes slower, and what its plan gives beside the best plan there is, simulated. */
export async function benchLoop(context: BenchContext): Promise<void> {
  const steps: number[] = [];
  const shares: number[] = [];
  const costs = makeCosts();
  for (const { node, factor } of SCENARIOS) {
    const subject = `${node} ${factor}x slower`;
    const slower = { step: () => factor, unit: () => factor };
    const truth = correctCosts(costs, (name) => (name === node ? slower : null), []);
    const oracle = await planModel(truth, { nowMs: () => 0 });
    for (let repetition = 0; repetition < context.repetitions; repetition++) {
      const slowdowns = [slowNode(node, factor, SLOW_AT_MS / 1000)];
      const scenario = { costs, slowdowns, seconds: END_MS / 1000, noise: 0.05, seed: repetition + 1 };
      const story = await tellStory(scenario);
      const found = story.decisions.find(({ event }) => event.name === "loop.node_slow" && event.node === node);
      const atMs = found?.event.atMs ?? END_MS;
      const count = story.decodeMs.filter((ms) => ms > SLOW_AT_MS && ms <= atMs).length;
      const best = measurePlan(scenario, oracle, 40_000, 20_000);
      const share = countRate(story.tokensMs, 45_000, END_MS) / best;
      steps.push(count);
      shares.push(share);
      context.record({ bench, subject, metric: "detected_after", unit: "steps", value: count, repetition });
      context.record({ bench, subject, metric: "share_of_oracle", unit: "1", value: share, repetition });
    }
  }
  const subject = `${SCENARIOS.length} slowdowns`;
  const found = steps.map((count) => DETECT_STEPS / Math.max(1, count));
  const kept = shares.map((share) => share / ORACLE_SHARE);
  for (const { name, ratios, goal } of [
    { name: "steps to detect a slow node", ratios: found, goal: `${DETECT_STEPS} steps` },
    { name: "throughput beside the best plan's", ratios: kept, goal: `${ORACLE_SHARE} of it` },
  ]) {
    context.conclude({
      bench,
      name,
      subject,
      baseline: `the goal of ${goal}`,
      ratio: median(ratios),
      low: quantile(ratios, 0),
      high: quantile(ratios, 1),
      goal: ">= 1",
      met: median(ratios) >= 1,
    });
  }
}
