import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { checkHookPattern, listHookPoints, matchHookPoints } from "./points.ts";

function codeOf(act: () => unknown): string | null {
  try {
    act();
  } catch (error) {
    return error instanceof NoodleError ? error.code : String(error);
  }
  return null;
}

describe("hook points", () => {
  const stage = (first: number, end: number) => ({ units: { first, end }, unitCount: 5 });

  it("are those of the units that a stage holds, numbered as in the undivided model", () => {
    const block = (n: number) => ["in", "attn.out", "mlp.out", "out"].map((part) => `blocks.${n}.${part}`);
    const head = ["head.norm.out", "head.logits"];
    expect(listHookPoints(stage(0, 5))).toEqual(["embed.out", ...block(0), ...block(1), ...block(2), ...head]);
    expect(listHookPoints(stage(0, 1))).toEqual(["embed.out"]);
    expect(listHookPoints(stage(2, 4))).toEqual([...block(1), ...block(2)]);
    expect(listHookPoints(stage(4, 5))).toEqual(head);
  });

  it("are matched by name or by a star for the block", () => {
    const points = listHookPoints(stage(2, 5));
    expect(matchHookPoints("blocks.*.attn.out", points)).toEqual(["blocks.1.attn.out", "blocks.2.attn.out"]);
    expect(matchHookPoints("blocks.*.out", points)).toEqual(["blocks.1.out", "blocks.2.out"]);
    expect(matchHookPoints("head.logits", points)).toEqual(["head.logits"]);
  });

  it.each([
    "",
    "blocks",
    "blocks.1",
    "blocks.01.out",
    "blocks.-1.out",
    "blocks.1.attn",
    "blocks.*",
    "*.out",
    "embed.in",
  ])("do not include %j", (pattern) => {
    expect(codeOf(() => checkHookPattern(pattern))).toBe("HOOK_POINT_UNKNOWN");
  });

  it("that a stage does not hold are refused with the legal ones", () => {
    const points = listHookPoints(stage(2, 4));
    for (const pattern of ["blocks.0.out", "blocks.3.out", "embed.out", "head.logits"]) {
      expect(codeOf(() => matchHookPoints(pattern, points))).toBe("HOOK_POINT_UNKNOWN");
    }
    try {
      matchHookPoints("embed.out", points);
    } catch (error) {
      expect(NoodleError.from(error).details["legal"]).toEqual(points);
    }
    expect(codeOf(() => matchHookPoints("blocks.*.out", listHookPoints(stage(0, 1))))).toBe("HOOK_POINT_UNKNOWN");
  });
});
