import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { must } from "../common/index.ts";
import { CostModel } from "../profile/index.ts";
import { scaleCosts } from "../placement/make-costs.ts";
import { validationSchema } from "./document.ts";
import { judge } from "./judge.ts";
import { choosePlanPolicy, predictRun, type PredictionInput } from "./predict-run.ts";
import type { RunFigures } from "./types.ts";

/** What `npm run bench -- validation` measured on the real 135M model. */
const folder = new URL("../../bench/validation/135m/", import.meta.url);
const read = (name: string): unknown => JSON.parse(readFileSync(new URL(name, folder), "utf8"));
const recorded = validationSchema.parse(read("measured.json"));
const { cost_model: costs } = read("config.json") as {
  readonly cost_model: ConstructorParameters<typeof CostModel>[0];
};

const { calibration, load, model, workers } = recorded;
const slowness = workers.map((worker) => worker.slowness);

/** Predictions of the recorded plans where the profile of worker i is that of worker `order[i]`. */
function predictAll(order: readonly number[]) {
  const nodes = order.map((other) => {
    const scale = must(slowness[other], "worker");
    return { costs: new CostModel(scaleCosts(costs, { decode: scale, prefill: scale }, 0)) };
  });
  const input: PredictionInput = {
    model: { units: model.units, embeddingLength: model.embedding_length },
    nodes,
    slowness: order.map((other) => must(slowness[other], "worker")),
    shape: null,
    calibration: {
      overheads: {
        ringMs: calibration.ring_ms,
        hopMs: calibration.hop_ms,
        hopMsPerByte: calibration.hop_ms_per_byte,
        turnMs: calibration.turn_ms,
        openMs: calibration.open_ms,
        closeMs: calibration.close_ms,
      },
      inPlace: calibration.in_place,
      coRun: calibration.co_run,
    },
    load: {
      streams: load.streams,
      requests: load.requests,
      promptTokens: load.prompt_tokens,
      genTokens: load.gen_tokens,
      contextTokens: load.context_tokens,
    },
  };
  return judge(
    recorded.plans.map(({ name, split, order: at, measured, policy }) => {
      const stages = split.split(",").map((range, stage) => {
        const [first = 0, end = 0] = range.split(":").map(Number);
        return { first, end, worker: must(at[stage], "worker") };
      });
      const plan = { name, stages };
      const chosen = choosePlanPolicy(input, plan);
      const wanted = {
        ...chosen,
        decodeInFlight: policy.decode_in_flight,
        maxDecodeRows: policy.max_decode_rows,
        prefillRows: policy.prefill_rows,
        mixedPrefillRows: policy.mixed_prefill_rows,
        maxHole: policy.max_hole,
        leastDecodeRows: policy.least_decode_rows,
      };
      return { predicted: predictRun(input, plan, wanted).figures, measured: measured.map(readFigures) };
    }),
  );
}

function readFigures({ tokens_per_s, ttft_ms, itl_ms }: (typeof recorded.plans)[number]["predicted"]): RunFigures {
  return { tokensPerSec: tokens_per_s, ttftMs: ttft_ms, itlMs: itl_ms, stages: [] };
}

describe("predicting runs", () => {
  const right = predictAll([0, 1, 2]);

  it("predicts the recorded runs again as the record says", () => {
    expect(right.errors.tokensPerSec.meanAbsolute).toBeCloseTo(recorded.summary.tokens_per_s.mean_absolute, 6);
    expect(right.rankCorrelation).toBeCloseTo(recorded.summary.rank_correlation, 6);
  });

  it("fails when the profiles of the workers are exchanged: errors are large, and the order of plans is lost", () => {
    for (const order of [
      [2, 1, 0],
      [1, 2, 0],
    ]) {
      const wrong = predictAll(order);
      expect(wrong.errors.tokensPerSec.meanAbsolute).toBeGreaterThan(1.5 * right.errors.tokensPerSec.meanAbsolute);
      expect(wrong.errors.tokensPerSec.meanAbsolute).toBeGreaterThan(0.15);
      expect(wrong.rankCorrelation).toBeLessThan(right.rankCorrelation - 0.2);
    }
  });
});
