import { NoodleError } from "../../common/index.ts";
import type { ReplanRequest } from "../../protocol/index.ts";
import { requireInteger } from "./options.ts";
import type { WantedPlan } from "./replan-request.ts";

const MAX_STAGES = 1024;
const MAX_TEXT_CHARS = 65_536;
const MAX_ROWS = 4096;

/** @throws PLAN_INVALID for a message that is no plan */
export function readReplanRequest(from: ReplanRequest): WantedPlan {
  const { split, order } = from;
  if (order.length > MAX_STAGES || split.length > MAX_TEXT_CHARS || order.some((name) => name.length > 128)) {
    throw new NoodleError("PLAN_INVALID", `a plan of ${order.length} nodes is too long, the limit is ${MAX_STAGES}`);
  }
  if (!/^[\da-f]{0,64}$/.test(from.planSha256)) {
    throw new NoodleError("PLAN_INVALID", "the plan's hash is not one (plan_sha256)");
  }
  const headerSha256 = from.modelHeaderSha256;
  return {
    split,
    order,
    terms: {
      sha256: from.planSha256,
      decodeInFlight: readCount(from.decodeInFlight, "decode_in_flight"),
      maxDecodeRows: readCount(from.maxDecodeRows, "max_decode_rows"),
      prefillRows: readCount(from.prefillRows, "prefill_rows"),
      mixedPrefillRows: readCount(from.mixedPrefillRows, "mixed_prefill_rows"),
      predictedPeriodMs: readFigure(from.predictedPeriodMs, "predicted_period_ms"),
      predictedLatencyMs: readFigure(from.predictedLatencyMs, "predicted_latency_ms"),
      predictedTokensPerSec: readFigure(from.predictedTokensPerS, "predicted_tokens_per_s"),
    },
    modelHeaderSha256: headerSha256.length === 0 ? null : Buffer.from(headerSha256.subarray(0, 32)).toString("hex"),
  };
}

function readCount(value: number, name: string): number | null {
  return value === 0 ? null : requireInteger(value, name, 1, MAX_ROWS);
}

function readFigure(value: number, name: string): number | null {
  if (!Number.isFinite(value) || value < 0) throw new NoodleError("PLAN_INVALID", `${name} is ${value}`);
  return value === 0 ? null : value;
}
