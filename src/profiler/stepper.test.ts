import { describe, expect, it } from "vitest";
import { FakeStage, type Stage, type StageForwardOptions, type StageInput } from "../engine/index.ts";
import type { Cell } from "./cells.ts";
import { SeededRandom } from "./random.ts";
import { Stepper } from "./stepper.ts";

const CONFIG = { stageFile: "", contextTokens: 128, parallel: 4, threads: 1, maxRows: 16, hookable: true };
const MODEL = { layers: 3, nEmbd: 4, nVocab: 50 };

/** A fake stage that notes what it is asked for. */
function watch(first: number, end: number): { readonly stage: Stage; readonly inputs: StageInput[] } {
  const inputs: StageInput[] = [];
  const stage = new FakeStage({ ...MODEL, units: { first, end } }, CONFIG);
  const forward = stage.forward.bind(stage);
  stage.forward = (input: StageInput, options?: StageForwardOptions) => {
    inputs.push(input);
    return forward(input, options);
  };
  return { stage, inputs };
}

const DECODE: Cell = { phase: "decode", rows: 3, context: 20 };
const PREFILL: Cell = { phase: "prefill", rows: 8, context: 5 };

describe("Stepper", () => {
  it("decodes one row of each sequence behind its context, and leaves the contexts as they were", () => {
    const { stage, inputs } = watch(0, 5);
    const stepper = new Stepper(stage, "role", 50, new SeededRandom(1));
    stepper.enter(DECODE);
    stepper.stepOff(DECODE);
    stepper.stepOn(DECODE);
    expect(inputs).toHaveLength(2);
    expect(inputs[1]?.runs).toEqual([0, 1, 2].map((slot) => ({ slot, position: 20, rows: 1, output: "last" })));
    for (const slot of [0, 1, 2]) expect(stage.nextPosition(slot)).toBe(20);
  });

  it("goes from a longer context to a shorter one and back", () => {
    const { stage } = watch(0, 5);
    const stepper = new Stepper(stage, "layer", 50, new SeededRandom(1));
    for (const cell of [DECODE, PREFILL, DECODE, { ...PREFILL, context: 0 }]) {
      stepper.enter(cell);
      stepper.stepOff(cell);
      expect(stage.nextPosition(0)).toBe(cell.context);
    }
  });

  it("sums a step's segments by unit and role", () => {
    const { stage } = watch(0, 5);
    const stepper = new Stepper(stage, "role", 50, new SeededRandom(1));
    stepper.enter(PREFILL);
    const { segments, stepMs, hookMs, outsideMs } = stepper.stepOn(PREFILL);
    const keys = segments.map(({ unit, role }) => `${unit} ${role}`);
    expect(new Set(keys).size).toBe(keys.length);
    expect(new Set(segments.map(({ unit }) => unit))).toEqual(new Set([0, 1, 2, 3, 4]));
    expect(segments.reduce((sum, { ms }) => sum + ms, 0) + hookMs).toBeCloseTo(stepMs, 6);
    expect(outsideMs).toBeLessThanOrEqual(hookMs);
  });

  it.each([
    ["blocks get a row for each token", 1, 3, 3, 8],
    ["behind the last block only output rows come", 4, 5, 3, 1],
  ])("feeds stages without embedding: %s", (_what, first, end, decodeRows, prefillRows) => {
    const { stage, inputs } = watch(first, end);
    const stepper = new Stepper(stage, "role", 50, new SeededRandom(1));
    for (const cell of [DECODE, PREFILL]) {
      stepper.enter(cell);
      stepper.stepOff(cell);
    }
    expect(inputs.map(({ hidden }) => (hidden?.length ?? 0) / MODEL.nEmbd)).toEqual([decodeRows, prefillRows]);
  });

  it("leaves learning steps out, and gives up when every step is one", () => {
    const { stage } = watch(0, 5);
    let learning = 2;
    const forward = stage.forward.bind(stage);
    stage.forward = (input, options) => {
      const output = forward(input, options);
      const { observation } = output;
      return { ...output, observation: observation === null ? null : { ...observation, learning: learning-- > 0 } };
    };
    const stepper = new Stepper(stage, "role", 50, new SeededRandom(1));
    stepper.enter(DECODE);
    expect(stepper.stepOn(DECODE).segments.length).toBeGreaterThan(0);
    learning = Number.POSITIVE_INFINITY;
    expect(() => stepper.stepOn(DECODE)).toThrow(expect.objectContaining({ code: "ENGINE_FAILED" }));
  });
});
