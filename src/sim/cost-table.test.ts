import { describe, expect, it } from "vitest";
import { completeProfile, CostModel } from "../profile/index.ts";
import { simulateProfile } from "../profile/testing.ts";
import { CostTable } from "./cost-table.ts";
import { Random } from "./random.ts";

const LAYERS = 5;
const costs = new CostModel(
  completeProfile(simulateProfile({ model: { layers: LAYERS, embd: 256, heads: 4, ff: 512, vocab: 2048 } })).cost_model,
);

describe("CostTable", () => {
  it("says what the production cost model says of a stage, at any rows and context", () => {
    const random = new Random(1, "queries");
    for (const range of [
      { first: 0, end: LAYERS + 2 },
      { first: 0, end: 3 },
      { first: 2, end: 4 },
      { first: 4, end: LAYERS + 2 },
      { first: LAYERS + 1, end: LAYERS + 2 },
    ]) {
      const table = new CostTable(costs, range, LAYERS + 2);
      for (let i = 0; i < 300; i++) {
        const phase = random.uniform() < 0.5 ? "decode" : "prefill";
        const rows = random.integer(1, phase === "decode" ? 40 : 300);
        const context = random.uniform() < 0.2 ? 0 : 6000 * random.uniform();
        const expected = costs.predictStage(range, { phase, rows, context }).ms;
        expect(table.predictMs(phase, rows, context, true)).toBeCloseTo(expected, 9);
      }
    }
  });

  it("leaves the head out where no logits are wanted", () => {
    const table = new CostTable(costs, { first: 4, end: LAYERS + 2 }, LAYERS + 2);
    const query = { phase: "prefill", rows: 64, context: 100 } as const;
    const blocks = costs.predictStage({ first: 4, end: LAYERS + 1 }, query).ms;
    expect(table.predictMs("prefill", 64, 100, false)).toBeCloseTo(blocks, 9);
    expect(table.predictMs("prefill", 64, 100, true)).toBeGreaterThan(blocks);
  });

  it("costs a stage of the head alone nothing but the call when no row comes", () => {
    const table = new CostTable(costs, { first: LAYERS + 1, end: LAYERS + 2 }, LAYERS + 2);
    expect(table.predictMs("prefill", 0, 0, false)).toBe(costs.document.step_overhead_ms.prefill);
  });
});
