import { describe, expect, it } from "vitest";
import { SampleCollector } from "./collect.ts";
import type { HookedStep } from "./messages.ts";

const CELL = { phase: "decode" as const, rows: 1, context: 0 };

function step(stepMs: number, parts: readonly (readonly [unit: number, ms: number])[], preemptions = 0): HookedStep {
  return {
    stepMs,
    preemptions,
    hookMs: 0.2,
    outsideMs: 0.1,
    otherMs: 0,
    segments: parts.map(([unit, ms]) => ({ unit, role: "total", ms, segments: 2 })),
  };
}

describe("SampleCollector", () => {
  it("puts the turns of a cell together, sample by sample, under the units of the undivided model", () => {
    const collector = new SampleCollector();
    collector.add({
      cell: CELL,
      outputRows: 1,
      hooked: [
        step(3, [
          [1, 1],
          [2, 2],
        ]),
      ],
      plain: [{ stepMs: 2.5, preemptions: 0 }],
    });
    collector.add({ cell: { ...CELL }, outputRows: 1, hooked: [step(5, [[1, 4]])], plain: [] });
    const unitOf = new Map([
      [1, 7],
      [2, 9],
    ]);
    expect(collector.finish(unitOf)).toEqual([
      {
        ...CELL,
        outputRows: 1,
        stepMs: [3, 5],
        stepOffMs: [2.5],
        hookMs: [0.2, 0.2],
        outsideMs: [0.1, 0.1],
        otherMs: [0, 0],
        segments: [
          { unit: 7, role: "total", ms: [1, 4], segmentsPerStep: 2 },
          { unit: 9, role: "total", ms: [2, 0], segmentsPerStep: 2 },
        ],
      },
    ]);
  });

  it("leaves out units that stand for nothing", () => {
    const collector = new SampleCollector();
    collector.add({
      cell: CELL,
      outputRows: 1,
      hooked: [
        step(3, [
          [1, 1],
          [2, 2],
        ]),
      ],
      plain: [],
    });
    expect(collector.finish(new Map([[1, 1]]))[0]?.segments.map(({ unit }) => unit)).toEqual([1]);
    expect(collector.has(CELL)).toBe(true);
    expect(collector.has({ ...CELL, rows: 2 })).toBe(false);
  });

  it("leaves out steps that other programs disturbed, while enough others are left", () => {
    const collector = new SampleCollector();
    const counts = [0, 3, 0, 0, 9, 0, 0, 1];
    const hooked = counts.map((preemptions, index) => step(index, [[1, index]], preemptions));
    const plain = counts.slice(0, 4).map((preemptions, index) => ({ stepMs: index, preemptions }));
    collector.add({ cell: CELL, outputRows: 1, hooked, plain });
    const [cell] = collector.finish(new Map([[1, 1]]));
    expect(cell?.stepMs).toEqual([0, 2, 3, 5, 6]);
    expect(cell?.segments[0]?.ms).toEqual([0, 2, 3, 5, 6]);
    // Of few samples all are kept.
    expect(cell?.stepOffMs).toEqual([0, 1, 2, 3]);
  });
});
