import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { countBytes, type FileRange, joinRanges, subtractRanges } from "./ranges.ts";

const ranges = fc.array(
  fc.record({
    shard: fc.integer({ min: 0, max: 1 }),
    offset: fc.integer({ min: 0, max: 30 }),
    length: fc.integer({ min: 0, max: 8 }),
  }),
  { maxLength: 12 },
);

function bytesOf(list: readonly FileRange[]): Set<string> {
  const bytes = new Set<string>();
  for (const { shard, offset, length } of list) for (let i = 0; i < length; i++) bytes.add(`${shard}:${offset + i}`);
  return bytes;
}

describe("ranges", () => {
  it("leave exactly the bytes that are wanted and not there", () => {
    fc.assert(
      fc.property(ranges, ranges, (wanted, have) => {
        const missing = subtractRanges(wanted, have);
        const there = bytesOf(have);
        const expected = new Set([...bytesOf(wanted)].filter((byte) => !there.has(byte)));
        expect(bytesOf(missing)).toEqual(expected);
        expect(countBytes(missing)).toBe(expected.size);
      }),
      { seed: 7, numRuns: 1000 },
    );
  });

  it("are the same bytes when joined, each once", () => {
    fc.assert(
      fc.property(ranges, (list) => {
        const joined = joinRanges(list);
        expect(bytesOf(joined)).toEqual(bytesOf(list));
        expect(countBytes(joined)).toBe(bytesOf(list).size);
      }),
      { seed: 8, numRuns: 1000 },
    );
  });
});
