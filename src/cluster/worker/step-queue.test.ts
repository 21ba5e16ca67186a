import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { must } from "../../common/index.ts";
import { StepQueue } from "./step-queue.ts";

/** Lets everything that can go on go on. */
async function settle(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe("StepQueue", () => {
  it("starts in order, as many as it may, and none beside one that shares a key, whatever comes and fails", async () => {
    const item = fc.record({
      keys: fc.uniqueArray(fc.constantFrom("a", "b", "c", "d"), { maxLength: 3 }),
      fails: fc.boolean(),
    });
    const items = fc.array(item, { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(
        items,
        fc.integer({ min: 1, max: 3 }),
        fc.infiniteStream(fc.nat(7)),
        async (steps, depth, picks) => {
          const queue = new StepQueue(depth);
          const started: number[] = [];
          const running = new Map<number, () => void>();
          const ends = steps.map(({ keys, fails }, index) =>
            queue.run(keys, async () => {
              for (const other of running.keys()) {
                expect(steps[other]?.keys.filter((key) => keys.includes(key))).toEqual([]);
              }
              started.push(index);
              await new Promise<void>((resolve) => running.set(index, resolve));
              if (fails) throw new Error("failed");
              return index;
            }),
          );
          const settled = Promise.allSettled(ends);
          while (started.length < steps.length || running.size > 0) {
            await settle();
            expect(running.size).toBeLessThanOrEqual(depth);
            expect(running.size).toBeGreaterThan(0);
            const open = [...running.keys()];
            const index = must(open[must(picks.next().value, "pick") % open.length], "a running step");
            const end = must(running.get(index), "its end");
            running.delete(index);
            end();
          }
          expect(started).toEqual(steps.map((_, index) => index));
          expect((await settled).map(({ status }) => status === "rejected")).toEqual(steps.map(({ fails }) => fails));
        },
      ),
      { seed: 7421, numRuns: 60 },
    );
  });
});
