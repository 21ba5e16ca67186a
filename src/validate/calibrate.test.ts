import { describe, expect, it } from "vitest";
import type { StepRecord } from "../observe/index.ts";
import { CostModel } from "../profile/index.ts";
import { calibrateInPlace, calibrateOverheads, type CalibrationRun, readInPlace } from "./calibrate.ts";

/** Two units; a decode row takes 1 ms in each, a prompt's call 4 ms. */
const costs = new CostModel({
  schema: "noodle.cost_model.v1",
  threads: 1,
  step_overhead_ms: { decode: 0, prefill: 0 },
  classes: [
    {
      name: "all",
      units: [0, 1],
      weights_bytes: 1,
      kv_bytes_per_token: 1,
      decode: { rows: [1], contexts: [0], ms: [[1]], loo_error_ratio: null },
      prefill: { rows: [8], contexts: [0], ms: [[4]], loo_error_ratio: null },
    },
  ],
});

/** Steps whose stages take `times` and which take so much longer from end to end, one every 100 ms. */
function makeRun(
  stages: CalibrationRun["stages"],
  times: Record<"prefill" | "decode", number>,
  outside: Record<"prefill" | "decode", number>,
): CalibrationRun {
  const steps = (["prefill", "decode", "decode", "decode"] as const).map((phase, index): StepRecord => {
    const sentMonoNs = 1e9 + index * 1e8;
    const computeNs = times[phase] * 1e6;
    return {
      stepId: index,
      epoch: 1,
      requestIds: ["r"],
      phase,
      rows: phase === "prefill" ? 8 : 1,
      contextTokens: phase === "prefill" ? 8 : 8 + index,
      sentMonoNs,
      receivedMonoNs: sentMonoNs + stages.length * computeNs + outside[phase] * 1e6,
      sampledRequestIds: ["r"],
      stages: stages.map((_, stage) => ({
        stage,
        nodeId: "n",
        queueNs: 0,
        computeNs,
        serializeNs: 0,
        hopNs: null,
        bytesIn: 0,
      })),
      level: "step",
    };
  });
  return { stages, record: { steps, requests: [{ calledMs: 995, tokenMs: [1100, 1400], endedMs: 1402 }] } };
}

const facts = { costs, slowness: 2, bytesPerRow: 100 };
const one = makeRun([{ first: 0, end: 2 }], { prefill: 17.6, decode: 4.4 }, { prefill: 1, decode: 1 });
const two = makeRun(
  [
    { first: 0, end: 1 },
    { first: 1, end: 2 },
  ],
  { prefill: 8.8, decode: 2.2 },
  { prefill: 3.4, decode: 1.6 },
);

describe("calibrating overheads", () => {
  it("tells the ring, the hop, the bytes, the turn, opening and closing apart", () => {
    const overheads = calibrateOverheads([one.record], [two.record], facts);
    expect(overheads.ringMs).toBeCloseTo(1, 6);
    expect(overheads.hopMs).toBeCloseTo(0.6, 6);
    expect(overheads.hopMsPerByte).toBeCloseTo(1.8 / 800, 9);
    expect(overheads.turnMs).toBeCloseTo(100 - 5.4, 6);
    expect(overheads.openMs).toBeCloseTo(5, 6);
    expect(overheads.closeMs).toBeCloseTo(2, 6);
  });

  it("takes the emulated speed out of what calls cost in a worker", () => {
    const { decode, prefill } = calibrateInPlace([one, two], facts);
    expect(decode).toEqual([{ rows: 1, ratio: expect.closeTo(1.1, 6), calls: 6 }]);
    expect(prefill).toEqual([{ rows: 8, ratio: expect.closeTo(1.1, 6), calls: 2 }]);
  });

  it("reads ratios between measured rows in proportion, and beyond them as the nearest", () => {
    const ratios = [
      { rows: 2, ratio: 1, calls: 3 },
      { rows: 4, ratio: 1.2, calls: 3 },
    ];
    expect([1, 2, 3, 4, 9].map((rows) => readInPlace(ratios, rows))).toEqual([1, 1, expect.closeTo(1.1, 9), 1.2, 1.2]);
    expect(readInPlace([], 3)).toBe(1);
  });
});
