import { expect, test } from "vitest";
import { judgeSplit } from "./verdict.ts";

const figures = {
  workers: 3,
  pipelineTokensPerSec: 200,
  undividedTokensPerSec: 400,
  computeMs: 3,
  largestStageBytes: 40,
  modelBytes: 100,
};

test("a slower pipeline is called not worth it for speed", () => {
  const words = judgeSplit(figures).join(" ");
  expect(words).toContain("0.50 times");
  expect(words).toContain("not worth it");
  expect(words).toContain("the stages computed 60%");
  expect(words).toContain("40% of the model");
});

test("equal speed is called no difference", () => {
  expect(judgeSplit({ ...figures, pipelineTokensPerSec: 398 }).join(" ")).toContain("no difference");
});

test("a faster pipeline is not sold as a gain", () => {
  expect(judgeSplit({ ...figures, pipelineTokensPerSec: 500 }).join(" ")).toContain("noise");
});
