import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventHeap } from "./event-heap.ts";

describe("EventHeap", () => {
  it("gives events by time, and of the same time in the order in which they were put in", () => {
    const steps = fc.array(fc.oneof(fc.record({ atMs: fc.integer({ min: 0, max: 20 }) }), fc.constant(null)), {
      maxLength: 900,
    });
    const property = fc.property(steps, (all) => {
      const heap = new EventHeap();
      const model: { atMs: number; order: number }[] = [];
      for (const [order, step] of all.entries()) {
        if (step !== null) {
          heap.push(step.atMs, order % 16, order);
          model.push({ atMs: step.atMs, order });
          continue;
        }
        model.sort((a, b) => a.atMs - b.atMs || a.order - b.order);
        const expected = model.shift();
        expect(heap.pop()).toBe(expected !== undefined);
        if (expected === undefined) continue;
        expect([heap.timeMs, heap.kind, heap.subject]).toEqual([expected.atMs, expected.order % 16, expected.order]);
      }
      expect(heap.size).toBe(model.length);
    });
    fc.assert(property, { seed: 20261123, numRuns: 150 });
  });

  it("carries the largest subject", () => {
    const heap = new EventHeap();
    heap.push(1, 15, 2 ** 27 - 1);
    heap.pop();
    expect([heap.kind, heap.subject]).toEqual([15, 2 ** 27 - 1]);
  });
});
