import { expect, test } from "vitest";
import { makeProfile } from "../placement/testing.ts";
import { CostModel } from "../profile/index.ts";
import { NormalValues } from "./normal.ts";
import { refineCosts, type StageSample } from "./refine.ts";

const { cost_model: costs } = makeProfile({ like: "llama-1b", layers: 6, vocab: 8192 });
const units = costs.classes.flatMap((one) => one.units).length;

/** Stages of a machine whose head takes 1.5 times what the profile says and all else 1.2 times. */
function makeSamples(ranges: readonly (readonly [number, number])[]): StageSample[] {
  const model = new CostModel(costs);
  const values = new NormalValues(7);
  return ranges.flatMap(([first, end]) =>
    Array.from({ length: 120 }, (_, i): StageSample => {
      const query = { phase: "decode", rows: 1 + (i % 4), context: 8 * i } as const;
      let ms = 1.2 * costs.step_overhead_ms.decode;
      for (let unit = first; unit < end; unit++) {
        ms += model.predict(unit, query).ms * (unit === units - 1 ? 1.5 : 1.2);
      }
      const outlier = i % 20 === 7 ? 10 : 1;
      return { first, end, ...query, ms: ms * outlier * Math.exp(0.02 * values.next()) };
    }),
  );
}

test("classes are told apart by stages that hold different ones, outliers or not", () => {
  const { classes, errorAfter, errorBefore } = refineCosts(
    costs,
    makeSamples([
      [0, 4],
      [4, units],
      [units - 1, units],
    ]),
  );
  expect(classes.find(({ name }) => name === "head")?.ratio).toBeCloseTo(1.5, 1);
  expect(classes.find(({ name }) => name.startsWith("block"))?.ratio).toBeCloseTo(1.2, 1);
  expect(classes.every(({ alarm }) => alarm)).toBe(true);
  expect(errorAfter).toBeLessThan(errorBefore);
});

test("a profile that holds is confirmed without an alarm, and a phase that was not seen stays as it is", () => {
  const model = new CostModel(costs);
  const samples = makeSamples([[0, units]]).map((sample) => ({ ...sample, ms: model.predictStage(sample, sample).ms }));
  const refined = refineCosts(costs, samples);
  expect(refined.classes.some(({ alarm }) => alarm)).toBe(false);
  expect(refined.costs.classes.map(({ prefill }) => prefill)).toEqual(costs.classes.map(({ prefill }) => prefill));
});
