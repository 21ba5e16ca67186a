import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type KeptPrefix, PrefixCache } from "./prefix-cache.ts";

function kept(slot: number, tokens: readonly number[], client = "a"): KeptPrefix {
  return { slot, sessionId: `s${slot}`, client, tokens, notes: [], bytes: tokens.length * 10 };
}

describe("PrefixCache", () => {
  it("finds the longest common beginning of the same client", () => {
    const cache = new PrefixCache(Number.POSITIVE_INFINITY);
    cache.put(kept(0, [1, 2, 3]));
    cache.put(kept(1, [1, 2, 3, 4, 9]));
    cache.put(kept(2, [1, 2, 3, 4, 5, 6], "b"));
    expect(cache.find("a", [1, 2, 3, 4, 5, 6])).toMatchObject({ kept: { slot: 1 }, tokens: 4 });
    expect(cache.find("b", [1, 2])).toMatchObject({ kept: { slot: 2 }, tokens: 2 });
    expect(cache.find("a", [7, 1, 2])).toBeNull();
    expect(cache.find("c", [1])).toBeNull();
  });

  it("forgets what was used longest ago, beyond its bytes", () => {
    const cache = new PrefixCache(100);
    cache.put(kept(0, [1, 2, 3, 4]));
    cache.put(kept(1, [5, 6, 7, 8]));
    cache.touch(0);
    expect(cache.put(kept(2, [9, 9, 9])).map(({ slot }) => slot)).toEqual([1]);
    expect(
      cache
        .put(
          kept(
            3,
            Array.from({ length: 11 }, () => 1),
          ),
        )
        .map(({ slot }) => slot),
    ).toEqual([0, 2, 3]);
    expect(cache.slots).toEqual([]);
  });

  it("counts what it holds, whatever is put and taken", () => {
    const action = fc.record({ slot: fc.nat(5), tokens: fc.array(fc.nat(3), { maxLength: 8 }), take: fc.boolean() });
    fc.assert(
      fc.property(fc.array(action), fc.nat(300), (actions, limit) => {
        const cache = new PrefixCache(limit);
        const held = new Map<number, number>();
        for (const { slot, tokens, take } of actions) {
          held.delete(slot);
          if (take) cache.take(slot);
          else {
            held.set(slot, tokens.length);
            for (const forgotten of cache.put(kept(slot, tokens))) held.delete(forgotten.slot);
          }
        }
        const total = [...held.values()].reduce((sum, length) => sum + length, 0);
        expect(cache).toMatchObject({ size: held.size, tokens: total, bytes: total * 10 });
        expect(total * 10).toBeLessThanOrEqual(limit);
        expect(new Set(cache.slots)).toEqual(new Set(held.keys()));
      }),
      { seed: 20261123, numRuns: 200 },
    );
  });
});
