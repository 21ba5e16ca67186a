import { describe, expect, it } from "vitest";
import { findNonFinite } from "./non-finite.ts";

describe("findNonFinite", () => {
  it("finds NaN and both infinities at every place", () => {
    for (let length = 1; length <= 13; length++) {
      for (let place = 0; place < length; place++) {
        for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
          const values = new Float32Array(length).fill(1.5);
          values[place] = bad;
          expect(findNonFinite(values)).toBe(place);
        }
      }
    }
  });

  it("names the first of several", () => {
    expect(findNonFinite(Float32Array.of(0, 1, 2, 3, 4, Number.NaN, 6, Number.POSITIVE_INFINITY))).toBe(5);
  });

  it("takes zeros, the largest values and denormals as finite", () => {
    expect(findNonFinite(Float32Array.of(0, -0, 3.4028235e38, -3.4028235e38, 1e-45, -1e-45))).toBe(-1);
    expect(findNonFinite(new Float32Array(0))).toBe(-1);
  });

  it("looks at a view's own values only", () => {
    const values = Float32Array.of(Number.NaN, 1, 2, Number.NaN);
    expect(findNonFinite(values.subarray(1, 3))).toBe(-1);
  });
});
