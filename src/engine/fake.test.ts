import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { FakeStage } from "./fake.ts";
import type { FakeModel } from "./fake-model.ts";
import { GREEDY, type RowRun, type StageConfig, type StageOutput } from "./types.ts";

const LAYERS = 3;
const CONFIG: StageConfig = { stageFile: "", contextTokens: 32, parallel: 2, threads: 1 };

function build(first: number, end: number, faults?: FakeModel["faults"]): FakeStage {
  const model = {
    units: { first, end },
    layers: LAYERS,
    nEmbd: 6,
    nVocab: 40,
    ...(faults === undefined ? {} : { faults }),
  };
  const stage = new FakeStage(model, CONFIG);
  stage.openSlot(0, GREEDY);
  stage.openSlot(1, GREEDY);
  return stage;
}

function chain(stages: readonly FakeStage[], runs: readonly RowRun[], tokens: Int32Array): StageOutput {
  let hidden: Float32Array | null = null;
  let output: StageOutput = { hidden, sampled: [], logprobs: [], computeNs: 0, observation: null };
  for (const stage of stages) {
    output = stage.forward({ runs, tokens, hidden }, { wantLogits: true });
    hidden = output.hidden;
  }
  return output;
}

function codeOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof NoodleError) return error.code;
    throw error;
  }
  return "nothing thrown";
}

describe("FakeStage", () => {
  it("gives the bits of the undivided fake at every cut", () => {
    const schedule: { runs: RowRun[]; tokens: Int32Array }[] = [
      {
        runs: [
          { slot: 0, position: 0, rows: 3, output: "last" },
          { slot: 1, position: 0, rows: 2, output: "none" },
        ],
        tokens: Int32Array.of(1, 2, 3, 4, 5),
      },
      { runs: [{ slot: 1, position: 2, rows: 2, output: "all" }], tokens: Int32Array.of(6, 7) },
      { runs: [{ slot: 0, position: 3, rows: 1, output: "last" }], tokens: Int32Array.of(9) },
    ];
    for (let a = 1; a < LAYERS + 2; a++) {
      for (let b = a + 1; b < LAYERS + 2; b++) {
        const whole = build(0, LAYERS + 2);
        const parts = [build(0, a), build(a, b), build(b, LAYERS + 2)];
        for (const { runs, tokens } of schedule) {
          const expected = whole.forward({ runs, tokens, hidden: null }, { wantLogits: true });
          expect(chain(parts, runs, tokens).sampled).toEqual(expected.sampled);
        }
        for (const slot of [0, 1]) {
          expect(parts.flatMap((part) => part.readKv(slot))).toEqual(whole.readKv(slot));
        }
      }
    }
  });

  it("lets only output rows leave the last block", () => {
    const stage = build(0, LAYERS + 1);
    const runs: RowRun[] = [{ slot: 0, position: 0, rows: 3, output: "last" }];
    expect(stage.forward({ runs, tokens: Int32Array.of(1, 2, 3), hidden: null }).hidden).toHaveLength(6);
    expect(build(0, LAYERS).forward({ runs, tokens: Int32Array.of(1, 2, 3), hidden: null }).hidden).toHaveLength(18);
  });

  it("comes to other tokens when history differs and to the same after a truncation", () => {
    const stage = build(0, LAYERS + 2);
    const step = (position: number, ...tokens: number[]): Float32Array | null | undefined =>
      stage.forward(
        {
          runs: [{ slot: 0, position, rows: tokens.length, output: "last" }],
          tokens: Int32Array.from(tokens),
          hidden: null,
        },
        { wantLogits: true },
      ).sampled[0]?.logits;
    step(0, 1, 2);
    const first = step(2, 3);
    stage.truncate(0, 2);
    expect(stage.nextPosition(0)).toBe(2);
    expect(step(2, 3)).toEqual(first);
    stage.truncate(0, 1);
    step(1, 9);
    expect(step(2, 3)).not.toEqual(first);
  });

  it("refuses a wrong position and a full context and leaves its state as it was", () => {
    const stage = build(0, LAYERS + 2);
    const forward = (position: number, rows: number): unknown =>
      stage.forward({
        runs: [{ slot: 0, position, rows, output: "none" }],
        tokens: new Int32Array(rows),
        hidden: null,
      });
    expect(codeOf(() => forward(1, 1))).toBe("STEP_OUT_OF_ORDER");
    expect(codeOf(() => forward(0, 33))).toBe("CONTEXT_EXCEEDED");
    expect(codeOf(() => stage.openSlot(2, GREEDY))).toBe("SESSION_LIMIT");
    expect(stage.nextPosition(0)).toBe(0);
  });

  it("has one canary for equal units and another for others", () => {
    expect(build(1, 3).canary()).toBe(build(1, 3).canary());
    expect(build(1, 3).canary()).not.toBe(build(2, 4).canary());
    expect(codeOf(() => build(1, 3, { canaryNonFinite: true }).canary())).toBe("NON_FINITE");
  });

  it("says where its time went, and holds a fabricated context", () => {
    const model = { units: { first: 0, end: LAYERS + 2 }, layers: LAYERS, nEmbd: 8, nVocab: 32 };
    const config = { stageFile: "", contextTokens: 64, parallel: 1, threads: 1 };
    const input = { runs: [{ slot: 0, position: 9, rows: 1, output: "last" as const }], hidden: null };
    const forward = (hookable: boolean): StageOutput => {
      const stage = new FakeStage(model, { ...config, hookable });
      stage.openSlot(0, GREEDY);
      stage.fillContext(0, 9);
      expect(codeOf(() => stage.fillContext(0, 65))).toBe("CONTEXT_EXCEEDED");
      return stage.forward({ ...input, tokens: Int32Array.of(1) }, { observe: "role" });
    };
    const { observation, computeNs } = forward(true);
    const parts = observation?.segments.reduce((sum, { durationNs }) => sum + durationNs, observation.hookNs);
    expect([parts, observation?.stepNs]).toEqual([computeNs, computeNs]);
    expect(new Set(observation?.segments.map(({ unit }) => unit)).size).toBe(LAYERS + 2);
    expect(codeOf(() => forward(false))).toBe("USAGE");
  });

  it("samples as a function of seed, position and history", () => {
    const run = (seed: number): number | undefined => {
      const stage = build(0, LAYERS + 2);
      stage.openSlot(0, { ...GREEDY, temperature: 5, repeatPenalty: 2, seed });
      const input = { runs: [{ slot: 0, position: 0, rows: 2, output: "last" as const }], hidden: null };
      return stage.forward({ ...input, tokens: Int32Array.of(1, 2) }).sampled[0]?.tokenId;
    };
    expect(run(1)).toBe(run(1));
    expect(new Set([1, 2, 3, 4, 5].map(run)).size).toBeGreaterThan(1);
  });
});
