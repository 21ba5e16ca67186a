import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choosePolicy, type PolicyFacts } from "./choose-policy.ts";
import { chooseSlot } from "./choose-slot.ts";
import { classOfRow, type RowClasses, type RowRule } from "./row-classes.ts";
import { CostMeter } from "./step-costs.ts";

const SEED = 20261123;

function stage(rules: readonly RowRule[], change: Partial<RowClasses> = {}): RowClasses {
  return {
    schema: "noodle.row_classes.v1",
    engine_build: "b",
    cpu_variant: "v",
    threads: 2,
    probe_ms: 1,
    weights: rules.map((rule, index) => ({ type: `t${index}`, experts: false, rule })),
    attention: { tiledRows: 64, splitCells: 512, cellStep: 256 },
    ...change,
  };
}

const FACTS: PolicyFacts = { stages: 3, slots: 8, determinism: "recorded", classes: [], costs: null, maxRows: 512 };

const groups = (group: number): RowRule => ({ kind: "full-groups", group });
const atLeast = (rows: number): RowRule => ({ kind: "rows-at-least", rows });

describe("choosePolicy", () => {
  it("keeps as many decode micro-batches in flight as there are stages, and one more over long ways", () => {
    expect(choosePolicy(FACTS).decodeInFlight).toBe(3);
    const costs = { decode: [{ rows: 4, ms: 10 }], prefill: [], hopMs: 1 };
    expect(choosePolicy({ ...FACTS, costs }).decodeInFlight).toBe(3);
    expect(choosePolicy({ ...FACTS, costs: { ...costs, hopMs: 8 } }).decodeInFlight).toBe(4);
  });

  it("makes a chunk beside decode rows about as long as a decode step", () => {
    const costs = {
      decode: [{ rows: 4, ms: 100 }],
      prefill: [
        { rows: 8, ms: 80 },
        { rows: 256, ms: 2560 },
      ],
      hopMs: null,
    };
    expect(choosePolicy({ ...FACTS, costs }).mixedPrefillRows).toBe(12);
    const quick = { ...costs, decode: [{ rows: 4, ms: 400 }] };
    expect(choosePolicy({ ...FACTS, costs: quick }).mixedPrefillRows).toBe(48);
    // A lone row leaves room for more; and never less than is worth a call.
    expect(choosePolicy({ ...FACTS, costs: { ...costs, decode: [{ rows: 1, ms: 40 }] } }).mixedPrefillRows).toBe(10);
    expect(choosePolicy({ ...FACTS, costs: { ...costs, decode: [{ rows: 1, ms: 1 }] } }).mixedPrefillRows).toBe(4);
    expect(choosePolicy({ ...FACTS, costs: { ...costs, decodeRows: 12 } }).mixedPrefillRows).toBeGreaterThanOrEqual(12);
  });

  it("takes what is wanted, within what a stage takes", () => {
    const wanted = { decodeInFlight: 7, prefillRows: 1000, mixedPrefillRows: 3 };
    expect(choosePolicy({ ...FACTS, wanted })).toMatchObject({
      decodeInFlight: 7,
      prefillRows: 512,
      mixedPrefillRows: 3,
    });
  });

  it.each([
    ["nothing where rows do not depend on one another", [stage([{ kind: "uniform" }])], { align: 1, maxDecodeRows: 8 }],
    ["groups", [stage([groups(4), atLeast(2)])], { align: 4, maxDecodeRows: 8 }],
    ["the stages' common multiple", [stage([groups(4)]), stage([atLeast(3)])], { align: 8, maxDecodeRows: 8 }],
    ["a cap below a late change of class", [stage([atLeast(8)])], { align: 1, maxDecodeRows: 7 }],
    [
      "padding where the cap has no room for the groups",
      [stage([groups(4), atLeast(5)])],
      { align: 4, maxDecodeRows: 4 },
    ],
  ])("pins strict rows by %s", (_what, classes, expected) => {
    expect(choosePolicy({ ...FACTS, determinism: "strict", classes })).toMatchObject(expected);
  });

  it("pairs lone strict rows from the first cells that attention splits, unless one thread computes", () => {
    const strict = { ...FACTS, determinism: "strict" as const };
    expect(choosePolicy({ ...strict, classes: [stage([])] }).pairFromCells).toBe(257);
    expect(choosePolicy({ ...strict, classes: [stage([], { threads: 1 })] }).pairFromCells).toBeNull();
    expect(choosePolicy(FACTS).pairFromCells).toBeNull();
  });

  it("gives all rows of whole strict blocks one class, for any rules", () => {
    const rule = fc.oneof(
      fc.constant<RowRule>({ kind: "uniform" }),
      fc.integer({ min: 2, max: 12 }).map(groups),
      fc.integer({ min: 2, max: 12 }).map(atLeast),
      fc.constant<RowRule>({ kind: "table", classes: { "2": [0, 0], "4": [0, 0, 0, 0], "6": [1, 1, 1, 1, 1, 1] } }),
    );
    const slots = fc.integer({ min: 1, max: 40 });
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 3 }), slots, (rules, count) => {
        const policy = choosePolicy({ ...FACTS, slots: count, determinism: "strict", classes: [stage(rules)] });
        const { align, maxDecodeRows } = policy;
        expect(policy.prefillRows % align === 0 || policy.prefillRows <= align).toBe(true);
        for (const one of rules) {
          const classes = new Set<number>();
          for (let rows = align; rows <= Math.min(maxDecodeRows, count); rows += align) {
            for (let place = 0; place < rows; place++) classes.add(classOfRow(one, rows, place));
          }
          expect(classes.size).toBe(1);
        }
      }),
      { seed: SEED, numRuns: 300 },
    );
  });
});

describe("CostMeter", () => {
  it("follows what steps take, and tells numbers of rows apart as far as they matter", () => {
    const meter = new CostMeter();
    meter.add("decode", 1, 10);
    meter.add("decode", 1, 20);
    meter.add("prefill", 250, 100);
    meter.add("prefill", 256, 100);
    meter.addHop(2);
    expect(meter.read()).toEqual({
      decode: [{ rows: 1, ms: 12 }],
      prefill: [{ rows: 256, ms: 100 }],
      hopMs: 2,
      decodeRows: 1,
    });
    expect(meter.steps).toBe(4);
  });
});

describe("chooseSlot", () => {
  it("takes the slot beside those that run, closes holes first, and fills a block before the next", () => {
    expect(chooseSlot([0, 1, 2], new Set(), 1)).toBe(0);
    expect(chooseSlot([0, 2, 4, 5], new Set([1, 3]), 1)).toBe(2);
    expect(chooseSlot([0, 1, 2, 5], new Set([6]), 1)).toBe(5);
    expect(chooseSlot([0, 4, 7], new Set([3, 5]), 4)).toBe(4);
    expect(chooseSlot([3, 4], new Set([5, 6]), 4)).toBe(4);
    expect(chooseSlot([], new Set([0]), 1)).toBeNull();
  });
});
