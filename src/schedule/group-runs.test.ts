import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { groupRuns, type RunGroup, type SlotRows } from "./group-runs.ts";

const run = (slot: number, rows: number): SlotRows => ({ slot, rows });
const call = (runs: number[], places: number[], rows: number, pads: number[] = []): RunGroup => ({
  runs,
  places,
  pads,
  rows,
});

describe("groupRuns", () => {
  it("puts consecutive slots of equal rows into one call, whatever their order", () => {
    expect(groupRuns([run(2, 1), run(0, 1), run(1, 1)])).toEqual([call([1, 2, 0], [0, 1, 2], 3)]);
    expect(groupRuns([run(4, 3), run(3, 3)])).toEqual([call([1, 0], [0, 3], 6)]);
  });

  it("parts where a slot is missing or the rows differ", () => {
    expect(groupRuns([run(0, 1), run(2, 1), run(3, 4), run(4, 4)])).toEqual([
      call([0], [0], 1),
      call([1], [0], 1),
      call([2, 3], [0, 4], 8),
    ]);
  });

  it("bridges missing slots by dummy rows, which have their places among the rows", () => {
    expect(groupRuns([run(0, 1), run(2, 1), run(5, 1)], [3, 1])).toEqual([
      call([0, 1], [0, 2], 4, [1, 3]),
      call([2], [0], 1),
    ]);
    expect(groupRuns([run(1, 1)], [0])).toEqual([call([0], [1], 2, [0])]);
  });

  it("leaves out dummy rows with no one-row run beside them", () => {
    expect(groupRuns([run(1, 2), run(5, 1)], [0, 2, 7, 8])).toEqual([call([0], [0], 2), call([1], [0], 1)]);
    expect(groupRuns([], [0, 1])).toEqual([]);
  });

  it("names every run once, and no call holds a gap or unequal runs", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(40), { maxLength: 24 }),
        fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 24, maxLength: 24 }),
        (slots, rows) => {
          // 0 rows stand for a dummy row.
          const runs = slots.flatMap((slot, i) => (rows[i] === 0 ? [] : [run(slot, rows[i] ?? 1)]));
          const pads = slots.filter((_, i) => rows[i] === 0);
          const groups = groupRuns(runs, pads);
          expect(groups.flatMap((group) => group.runs).toSorted((a, b) => a - b)).toEqual(runs.map((_, i) => i));
          for (const group of groups) {
            const members = group.runs.map((i) => runs[i] ?? run(-1, 0));
            const taken = [...members.map(({ slot }) => slot), ...group.pads].toSorted((a, b) => a - b);
            expect(taken.at(-1)).toBe((taken[0] ?? 0) + taken.length - 1);
            const each = members[0]?.rows ?? 0;
            expect(members.every((member) => member.rows === each)).toBe(true);
            expect(group.pads.length === 0 || each === 1).toBe(true);
            expect(group.rows).toBe(taken.length * each);
            expect(group.places).toEqual(members.map(({ slot }) => taken.indexOf(slot) * each));
          }
        },
      ),
      { seed: 11 },
    );
  });
});
