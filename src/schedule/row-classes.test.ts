import { describe, expect, it } from "vitest";
import { type ClassTable, classKey, classOfRow, fitRowRule, type RowClasses, type RowRule } from "./row-classes.ts";

function tableOf(rule: RowRule): ClassTable {
  return new Map(
    [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33].map((rows) => [
      rows,
      Array.from({ length: rows }, (_, place) => classOfRow(rule, rows, place)),
    ]),
  );
}

describe("fitRowRule", () => {
  it("finds each rule from the table that the rule makes", () => {
    const rules: RowRule[] = [
      { kind: "uniform" },
      { kind: "rows-at-least", rows: 2 },
      { kind: "rows-at-least", rows: 8 },
      { kind: "full-groups", group: 4 },
      { kind: "full-groups", group: 8 },
    ];
    for (const rule of rules) expect(fitRowRule(tableOf(rule))).toEqual(rule);
  });

  it("keeps the table where no rule fits, and answers from it", () => {
    const table: ClassTable = new Map([2, 3, 4, 5, 6, 7, 9].map((rows) => [rows, [rows % 2]]));
    const rule = fitRowRule(table);
    expect(rule.kind).toBe("table");
    expect(classOfRow(rule, 3, 0)).toBe(1);
    expect(classOfRow(rule, 8, 0)).toBe(-1);
  });

  it("takes rows that agree by chance for what they may be: the rule may tell more classes apart than were seen", () => {
    const table: ClassTable = new Map([
      [1, [0]],
      [2, [1, 0]],
      [3, [1, 0, 1]],
    ]);
    expect(fitRowRule(table)).toEqual({ kind: "rows-at-least", rows: 2 });
  });
});

describe("classKey", () => {
  const classes: RowClasses = {
    schema: "noodle.row_classes.v1",
    engine_build: "b",
    cpu_variant: "v",
    threads: 2,
    probe_ms: 1,
    weights: [{ type: "f16", experts: false, rule: { kind: "rows-at-least", rows: 2 } }],
    attention: { tiledRows: 64, splitCells: 512, cellStep: 256 },
  };
  it("tells apart what the rules tell apart, and nothing else", () => {
    const key = (rows: number, cells: number, threads: number): string =>
      classKey(classes, { rows, place: 0, cells, threads });
    expect(key(2, 256, 1)).toBe(key(63, 1024, 2));
    expect(key(1, 256, 1)).not.toBe(key(2, 256, 1));
    expect(key(64, 256, 1)).not.toBe(key(63, 256, 1));
    expect(key(1, 512, 2)).not.toBe(key(1, 256, 2));
    expect(key(1, 512, 1)).toBe(key(1, 256, 2));
    expect(key(1, 512, 2)).not.toBe(key(1, 512, 4));
  });

  it("looks at a row's own run for attention, and at the whole call for weights", () => {
    const key = (rows: number, runRows: number): string =>
      classKey(classes, { rows, place: 0, runRows, cells: 512, threads: 2 });
    expect(key(128, 1)).toBe(key(2, 1));
    expect(key(128, 64)).toBe(key(64, 64));
    expect(key(128, 64)).not.toBe(key(128, 63));
    expect(key(1, 1)).not.toBe(key(2, 1));
  });
});
