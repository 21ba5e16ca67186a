import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { agePriority, countPassed, type Passed } from "./ageing.ts";
import { BASE_POLICY, SimulatedPipeline } from "./testing.ts";

/** Serves the priority that counts most, again and again. @returns how often each had a turn */
function serve(levels: readonly number[], turns: number): ReadonlyMap<number, number> {
  const served = new Map<number, number>();
  let passed: readonly Passed[] = [];
  for (let turn = 0; turn < turns; turn++) {
    const [next = 0] = levels.toSorted((a, b) => agePriority(b, passed) - agePriority(a, passed) || b - a);
    served.set(next, (served.get(next) ?? 0) + 1);
    passed = countPassed(passed, levels, [next]);
  }
  return served;
}

describe("priorities", () => {
  it("all have turns, the larger ones more", () => {
    const priorities = fc.uniqueArray(fc.integer({ min: -100, max: 100 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(priorities, (levels) => {
        const served = serve(levels, 1000);
        const turns = levels.toSorted((a, b) => b - a).map((level) => served.get(level) ?? 0);
        expect(Math.min(...turns)).toBeGreaterThanOrEqual(2);
        expect(turns[0]).toBe(Math.max(...turns));
      }),
      { seed: 20261123, numRuns: 30 },
    );
    expect(Object.fromEntries(serve([0, 1], 60))).toEqual({ 0: 6, 1: 54 });
  });

  it("count as they are again when they have had a turn, or nobody of them waits", () => {
    const passed = countPassed([], [5, 0, 0, -1], [5, 5, 5, 5]);
    expect(passed).toEqual([
      { priority: 0, times: 4 },
      { priority: -1, times: 4 },
    ]);
    expect([agePriority(0, passed), agePriority(5, passed), agePriority(-2, passed)]).toEqual([1, 5, -2]);
    expect(countPassed(passed, [5, 0], [0])).toEqual([{ priority: 5, times: 1 }]);
    expect(countPassed(passed, [0], [])).toBe(passed);
  });
});

it("lets a prompt of low priority be read, and its rows be computed, however many others come", () => {
  const policy = { ...BASE_POLICY, maxDecodeRows: 1, decodeInFlight: 1 };
  const pipeline = new SimulatedPipeline(policy, 2);
  pipeline.join({ id: "low", slot: 0, priority: -100, promptRows: 40, newTokens: 5 });
  let others = 0;
  const fill = (): void => {
    for (const slot of pipeline.freeSlots) {
      if (slot === 0) continue;
      others += 1;
      pipeline.join({ id: `high ${others}`, slot, priority: 100, promptRows: 24, newTokens: 2 });
    }
  };
  fill();
  for (let answers = 0; answers < 4000 && !pipeline.freeSlots.includes(0); answers++) {
    pipeline.answer();
    fill();
  }
  expect(pipeline.freeSlots).toContain(0);
  expect(others).toBeGreaterThan(100);
});
