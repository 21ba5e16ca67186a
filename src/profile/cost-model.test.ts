import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { completeProfile } from "./complete.ts";
import { CostModel } from "./cost-model.ts";
import { buildTable } from "./cost-table.ts";
import { LAPTOP, simulateProfile, trueMs } from "./testing.ts";
import type { CostModelDocument, CostTable } from "./types.ts";

const EMPTY: CostTable = { rows: [], contexts: [], ms: [], loo_error_ratio: null };

function makeModel(tables: Partial<Record<"decode" | "prefill", CostTable>>): CostModel {
  const document: CostModelDocument = {
    schema: "noodle.cost_model.v1",
    threads: 1,
    step_overhead_ms: { decode: 0.5, prefill: 0.25 },
    classes: [
      {
        name: "block",
        units: [1, 2],
        weights_bytes: 1,
        kv_bytes_per_token: 1,
        decode: EMPTY,
        prefill: EMPTY,
        ...tables,
      },
    ],
  };
  return new CostModel(document);
}

const decodeAt = (model: CostModel, rows: number, context: number) =>
  model.predict(1, { phase: "decode", rows, context });

const axis = (min: number, max: number) =>
  fc
    .uniqueArray(fc.integer({ min, max }), { minLength: 1, maxLength: 5 })
    .map((values) => values.sort((a, b) => a - b));

/** Tables that rise with rows and context, as real ones do but for noise. */
const risingTable = fc
  .tuple(axis(1, 64), axis(0, 8192), fc.double({ min: 0.001, max: 10, noNaN: true }), fc.integer({ min: 0, max: 5 }))
  .map(
    ([rows, contexts, base, bend]): CostTable => ({
      rows,
      contexts,
      ms: rows.map((row) =>
        contexts.map((context) => base * (1 + row * 0.3 + bend * Math.sqrt(row) + (row * context) / 1000)),
      ),
      loo_error_ratio: null,
    }),
  );

/** Any positive times, with holes, at least one cell measured. */
const holedTable = fc
  .tuple(
    axis(1, 64),
    axis(0, 8192),
    fc.array(fc.option(fc.double({ min: 1e-6, max: 1e4, noNaN: true })), { minLength: 25, maxLength: 25 }),
  )
  .map(([rows, contexts, values]): CostTable => {
    const ms = rows.map((_, i) => contexts.map((_, j) => values[i * 5 + j] ?? null));
    const firstLine = [1, ...(ms[0] ?? []).slice(1)];
    return { rows, contexts, ms: [firstLine, ...ms.slice(1)], loo_error_ratio: null };
  });

const query = fc.record({
  phase: fc.constantFrom("decode" as const, "prefill" as const),
  rows: fc.integer({ min: 1, max: 4096 }),
  context: fc.integer({ min: 0, max: 200_000 }),
});

describe("CostModel", () => {
  it("says exactly what was measured where it was measured", () => {
    fc.assert(
      fc.property(holedTable, (table) => {
        const model = makeModel({ decode: table });
        for (const [i, rows] of table.rows.entries()) {
          for (const [j, context] of table.contexts.entries()) {
            const measured = table.ms[i]?.[j] ?? null;
            const prediction = decodeAt(model, rows, context);
            if (measured === null) expect(prediction.extrapolated).toBe(true);
            else expect(prediction).toEqual({ ms: measured, extrapolated: false });
          }
        }
      }),
      { seed: 4 },
    );
  });

  it("gives a finite time above zero for every step, however little was measured", () => {
    fc.assert(
      fc.property(holedTable, query, (table, step) => {
        for (const model of [makeModel({ decode: table }), makeModel({ prefill: table })]) {
          const { ms } = model.predict(2, step);
          expect(Number.isFinite(ms)).toBe(true);
          expect(ms).toBeGreaterThan(0);
        }
      }),
      { seed: 4 },
    );
  });

  it("lies between its neighbours inside the grid", () => {
    fc.assert(
      fc.property(risingTable, fc.nat(), fc.nat(), (table, rowSeed, contextSeed) => {
        const model = makeModel({ decode: table });
        const [firstRow = 1, lastRow = 1] = [table.rows[0], table.rows.at(-1)];
        const [firstContext = 0, lastContext = 0] = [table.contexts[0], table.contexts.at(-1)];
        const rows = firstRow + (rowSeed % (lastRow - firstRow + 1));
        const context = firstContext + (contextSeed % (lastContext - firstContext + 1));
        const { ms, extrapolated } = decodeAt(model, rows, context);
        const around = (values: readonly number[], value: number) => [
          values.findLastIndex((place) => place <= value),
          values.findIndex((place) => place >= value),
        ];
        const [i0 = 0, i1 = 0] = around(table.rows, rows);
        const [j0 = 0, j1 = 0] = around(table.contexts, context);
        expect(ms).toBeGreaterThanOrEqual((table.ms[i0]?.[j0] ?? 0) * (1 - 1e-9));
        expect(ms).toBeLessThanOrEqual((table.ms[i1]?.[j1] ?? 0) * (1 + 1e-9));
        expect(extrapolated).toBe(false);
      }),
      { seed: 4 },
    );
  });

  it("never falls with more rows or more context where the measurements do not", () => {
    fc.assert(
      fc.property(
        risingTable,
        query,
        fc.integer({ min: 0, max: 500 }),
        fc.integer({ min: 0, max: 5000 }),
        (table, step, moreRows, moreContext) => {
          const model = makeModel({ decode: table });
          const { ms } = decodeAt(model, step.rows, step.context);
          const slack = ms * 1e-9;
          expect(decodeAt(model, step.rows + moreRows, step.context).ms).toBeGreaterThanOrEqual(ms - slack);
          expect(decodeAt(model, step.rows, step.context + moreContext).ms).toBeGreaterThanOrEqual(ms - slack);
        },
      ),
      { seed: 4, numRuns: 300 },
    );
  });

  const cross = buildTable([
    { rows: 1, context: 0, ms: 1 },
    { rows: 1, context: 1000, ms: 1.5 },
    { rows: 8, context: 0, ms: 2 },
  ]);

  it("adds what the context costs, for each row, where only rows and contexts apart were measured", () => {
    expect(decodeAt(makeModel({ decode: cross }), 8, 1000)).toEqual({ ms: 2 + 8 * 0.5, extrapolated: true });
  });

  it("goes on with the last slope outside, and says so", () => {
    expect(decodeAt(makeModel({ decode: cross }), 1, 3000)).toEqual({ ms: 2.5, extrapolated: true });
    expect(decodeAt(makeModel({ decode: cross }), 15, 0).ms).toBeCloseTo(3);
    const falling = buildTable([
      { rows: 1, context: 0, ms: 2 },
      { rows: 1, context: 100, ms: 1.9 },
    ]);
    expect(decodeAt(makeModel({ decode: falling }), 1, 100_000).ms).toBe(1.9);
  });

  it("takes a single measurement in proportion to the rows", () => {
    const model = makeModel({ prefill: buildTable([{ rows: 64, context: 0, ms: 6.4 }]) });
    expect(model.predict(1, { phase: "prefill", rows: 128, context: 0 })).toEqual({ ms: 12.8, extrapolated: true });
    expect(model.predict(1, { phase: "prefill", rows: 16, context: 500 })).toEqual({ ms: 1.6, extrapolated: true });
    expect(model.predict(1, { phase: "decode", rows: 64, context: 0 })).toEqual({ ms: 6.4, extrapolated: true });
  });

  it("adds units and the call's own cost to a stage", () => {
    const model = makeModel({ decode: cross });
    expect(model.predictStage({ first: 1, end: 3 }, { phase: "decode", rows: 1, context: 0 })).toEqual({
      ms: 2.5,
      extrapolated: false,
    });
    expect(model.units).toEqual([1, 2]);
  });

  it("refuses units that nothing is known of, and steps without rows", () => {
    const model = makeModel({ decode: cross });
    const ask = (unit: number, rows: number, context: number) => () =>
      model.predict(unit, { phase: "decode", rows, context });
    expect(ask(0, 1, 0)).toThrowError(expect.objectContaining({ code: "PROFILE_MISMATCH" }));
    for (const [rows, context] of [
      [0, 0],
      [Number.NaN, 0],
      [1, -1],
      [1, Number.POSITIVE_INFINITY],
    ] as const) {
      expect(ask(1, rows, context)).toThrowError(expect.objectContaining({ code: "USAGE" }));
    }
    expect(() => makeModel({})).toThrowError(expect.objectContaining({ code: "PROFILE_INVALID" }));
  });

  it("predicts steps of a known machine that were not measured", () => {
    const raw = simulateProfile({ model: { like: "llama-1b", type: "q4_0" }, machine: { noise: 0.002 } });
    const model = new CostModel(completeProfile(raw).cost_model);
    const whole = { first: 0, end: raw.work.units.length };
    const truth = (phase: "decode" | "prefill", rows: number, context: number): number =>
      raw.work.units.reduce(
        (sum, unit) =>
          sum + trueMs(LAPTOP, unit, "total", { phase, rows, context, outputRows: phase === "decode" ? rows : 1 }),
        LAPTOP.outsideMs,
      );
    for (const [phase, rows, context] of [
      ["decode", 1, 1024],
      ["decode", 1, 4096],
      ["decode", 4, 1500],
      ["prefill", 128, 0],
    ] as const) {
      const { ms } = model.predictStage(whole, { phase, rows, context });
      expect(ms / truth(phase, rows, context)).toBeCloseTo(1, 1);
    }
    // Of a class the table is the median over its units, so noise of one of them does not show.
    const block = must(
      model.document.classes.find(({ name }) => name === "block"),
      "class",
    );
    expect(block.units).toHaveLength(15);
  });
});

describe("buildTable", () => {
  it("leaves one cell out at a time and finds a plane without error", () => {
    const samples = [1, 2, 4].flatMap((rows) =>
      [0, 100, 300].map((context) => ({ rows, context, ms: 1 + rows + context / 100 })),
    );
    expect(buildTable(samples).loo_error_ratio).toBeCloseTo(0, 6);
  });

  it("says how far off a cell is that its neighbours do not predict", () => {
    const samples = [
      { rows: 1, context: 0, ms: 1 },
      { rows: 2, context: 0, ms: 1 },
      { rows: 3, context: 0, ms: 3 },
    ];
    expect(buildTable(samples).loo_error_ratio).toBe(1);
  });

  it("says nothing of the error with cells on the rim only", () => {
    expect(
      buildTable([
        { rows: 1, context: 0, ms: 1 },
        { rows: 2, context: 0, ms: 2 },
      ]).loo_error_ratio,
    ).toBeNull();
  });

  it("leaves places empty that were not measured", () => {
    const table = buildTable([
      { rows: 4, context: 0, ms: 1 },
      { rows: 1, context: 9, ms: 2 },
    ]);
    expect(table).toMatchObject({
      rows: [1, 4],
      contexts: [0, 9],
      ms: [
        [null, 2],
        [1, null],
      ],
    });
  });
});
