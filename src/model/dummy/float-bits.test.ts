import fc from "fast-check";
import { expect, it } from "vitest";
import { toBfloat16Bits, toFloat16Bits } from "./float-bits.ts";

/** What the bits mean. */
function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const mantissa = bits & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

it.each([
  [0, 0x0000],
  [-0, 0x8000],
  [1, 0x3c00],
  [-2, 0xc000],
  [0.1, 0x2e66],
  [65_504, 0x7bff],
  [65_520, 0x7c00],
  [1e6, 0x7c00],
  [2 ** -24, 0x0001],
  [2 ** -25, 0x0000],
  [1.5 * 2 ** -25, 0x0001],
  [2 ** -14, 0x0400],
  [1e-9, 0x0000],
])("encodes %d in half precision as %i", (value, bits) => {
  expect(toFloat16Bits(value)).toBe(bits);
});

it("gives every half-precision number its own bits", () => {
  for (let bits = 0; bits < 0x7c00; bits++) expect(toFloat16Bits(fromFloat16Bits(bits))).toBe(bits);
});

it("rounds to the nearest half-precision number", () => {
  fc.assert(
    fc.property(fc.float({ min: -60_000, max: 60_000, noNaN: true }), (value) => {
      const bits = toFloat16Bits(value);
      const error = Math.abs(fromFloat16Bits(bits) - value);
      for (const neighbour of [bits - 1, bits + 1]) {
        if ((neighbour & 0x7fff) >= 0x7c00 || neighbour < 0) continue;
        expect(error).toBeLessThanOrEqual(Math.abs(fromFloat16Bits(neighbour) - value));
      }
    }),
    { seed: 5, numRuns: 1000 },
  );
});

it.each([
  [1, 0x3f80],
  [-1, 0xbf80],
  [1 + 2 ** -8, 0x3f80],
  [1 + 3 * 2 ** -8, 0x3f82],
  [3.14, 0x4049],
])("encodes %d as bfloat16 %i", (value, bits) => {
  expect(toBfloat16Bits(value)).toBe(bits);
});
