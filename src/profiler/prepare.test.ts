import { describe, expect, it } from "vitest";
import { makeDummyHeader } from "../model/index.ts";
import { describeWork } from "../profile/index.ts";
import { planSynthetic } from "./prepare.ts";
import { chooseBlocks } from "./synthetic-blocks.ts";

const LLAMA = describeWork(makeDummyHeader({ like: "llama-8b" }));
const MIXED = describeWork(makeDummyHeader({ like: "llama-1b", type: "q4_k_m" }));
const SLIDING = describeWork(makeDummyHeader({ like: "gemma3-1b" }));
const ROOMY = { workingSetBytes: 128 * 2 ** 20, memoryBytes: 2 ** 40, pinnedCount: null };
const all = (work: typeof LLAMA): { first: number; end: number } => ({ first: 0, end: work.units.length });
const classesOf = (work: typeof LLAMA, blocks: readonly number[]): Set<string> =>
  new Set(blocks.map((block) => work.units[block + 1]?.unitClass ?? ""));

describe("chooseBlocks", () => {
  it.each([
    ["equal blocks", LLAMA],
    ["blocks of differing types", MIXED],
    ["blocks with and without windows", SLIDING],
  ])("builds every class of %s, few blocks in all", (_what, work) => {
    const blocks = chooseBlocks(work, all(work), ROOMY);
    const wanted = new Set(work.units.filter((unit) => unit.kind === "block").map((unit) => unit.unitClass));
    expect(classesOf(work, blocks)).toEqual(wanted);
    expect(blocks.length).toBeLessThan(work.units.length - 2);
    expect(blocks).toEqual([...new Set(blocks)].sort((a, b) => a - b));
  });

  it("builds all blocks of a model that is smaller than the working set", () => {
    const small = describeWork(makeDummyHeader({ layers: 6 }));
    expect(chooseBlocks(small, all(small), ROOMY)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("goes on until the weights that a step reads fill the working set", () => {
    const range = { first: 1, end: LLAMA.units.length - 1 };
    const blocks = chooseBlocks(LLAMA, range, { ...ROOMY, workingSetBytes: 10 * 120e6 });
    const bytes = blocks.flatMap((block) => LLAMA.units[block + 1]?.tensors ?? []).reduce((sum, t) => sum + t.bytes, 0);
    expect(bytes).toBeGreaterThanOrEqual(10 * 120e6);
    expect(blocks.length).toBeLessThan(14);
  });

  it("stays inside the range and inside the memory", () => {
    expect(chooseBlocks(LLAMA, { first: 3, end: 5 }, ROOMY)).toEqual([2, 3]);
    expect(chooseBlocks(LLAMA, { first: 3, end: 9 }, { ...ROOMY, memoryBytes: 130e6 })).toHaveLength(1);
  });

  it("refuses when not one block of each class fits", () => {
    expect(() => chooseBlocks(LLAMA, all(LLAMA), { ...ROOMY, memoryBytes: 1e6 })).toThrow(
      expect.objectContaining({ code: "MEMORY_INSUFFICIENT" }),
    );
  });

  it("does not build the one number of blocks that the engine takes for another model", () => {
    const usual = chooseBlocks(LLAMA, all(LLAMA), ROOMY).length;
    expect(chooseBlocks(LLAMA, all(LLAMA), { ...ROOMY, pinnedCount: usual })).not.toHaveLength(usual);
  });
});

describe("planSynthetic", () => {
  it("names the real unit of everything that is built", () => {
    const plan = planSynthetic(LLAMA, all(LLAMA), ROOMY);
    const [first, ...others] = [...plan.unitOf.values()];
    expect(first).toBe(0);
    expect(others.at(-1)).toBe(LLAMA.units.length - 1);
    expect(plan.range).toEqual({ first: 0, end: plan.headerBlocks.length + 2 });
    for (const [made, real] of plan.unitOf) {
      if (made > 0 && made <= plan.headerBlocks.length) expect(real).toBe((plan.headerBlocks[made - 1] ?? -1) + 1);
    }
  });

  it("lets a stage that ends before the last block hand on all rows", () => {
    const plan = planSynthetic(LLAMA, { first: 3, end: 5 }, ROOMY);
    expect(plan.headerBlocks.length).toBeGreaterThan(plan.unitOf.size);
    expect(plan.range).toEqual({ first: 1, end: 3 });
    expect([...plan.unitOf]).toEqual([
      [1, 3],
      [2, 4],
    ]);
  });

  it("makes embedding and head alone", () => {
    expect(planSynthetic(LLAMA, { first: 0, end: 1 }, ROOMY).range).toEqual({ first: 0, end: 1 });
    const head = LLAMA.units.length - 1;
    const plan = planSynthetic(LLAMA, { first: head, end: head + 1 }, ROOMY);
    expect([...plan.unitOf]).toEqual([[2, head]]);
    expect(plan.range).toEqual({ first: 2, end: 3 });
  });
});
