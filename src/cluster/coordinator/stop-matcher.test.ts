import * as fc from "fast-check";
import { expect, it } from "vitest";
import { StopMatcher } from "./stop-matcher.ts";

/** Where the first stop text begins in a whole text; -1 where none does. */
function findFirst(text: string, stops: readonly string[]): number {
  const places = stops
    .filter((stop) => stop !== "")
    .flatMap((stop) => (text.includes(stop) ? [text.indexOf(stop)] : []));
  return places.length === 0 ? -1 : Math.min(...places);
}

it("lets through the text before the first stop text, however the text is cut, and never more", () => {
  const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 4 });
  fc.assert(
    fc.property(fc.array(letters, { maxLength: 12 }), fc.array(letters, { maxLength: 3 }), (pieces, stops) => {
      const matcher = new StopMatcher(stops);
      let told = "";
      let given = "";
      for (const piece of pieces) {
        given += piece;
        told += matcher.push(piece);
        const found = findFirst(given, stops);
        expect(matcher.found !== null).toBe(found >= 0);
        if (matcher.found !== null) break;
        // Whatever is held back is the beginning of a stop text.
        const held = given.slice(told.length);
        expect(held === "" || stops.some((stop) => stop.startsWith(held) && stop !== held)).toBe(true);
      }
      const found = findFirst(given, stops);
      expect(told + matcher.flush()).toBe(found < 0 ? given : given.slice(0, found));
    }),
    { seed: 20261123, numRuns: 500 },
  );
});

it("names the longer of two stop texts that begin at one place", () => {
  const matcher = new StopMatcher(["ab", "abc"]);
  expect(matcher.push("xabc")).toBe("x");
  expect(matcher.found).toBe("abc");
  expect(matcher.push("more")).toBe("");
});
