import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import type { WantedPlan } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import { MAX_PLAN_BYTES, type ModelPlan, readModelPlan } from "../placement/index.ts";

/** Reads what `noodle plan -o` wrote. @throws NoodleError `FILE_NOT_FOUND`, `PLAN_INVALID`, `PLAN_INFEASIBLE` */
export async function readPlanFile(path: string): Promise<WantedPlan> {
  const facts = await stat(path).catch(() => null);
  if (facts === null || !facts.isFile()) {
    throw new NoodleError("FILE_NOT_FOUND", `there is no plan ${path}; \`noodle plan MODEL ... -o ${path}\` makes one`);
  }
  if (facts.size > MAX_PLAN_BYTES) {
    throw new NoodleError("PLAN_INVALID", `${path} has ${facts.size} bytes, the limit is ${MAX_PLAN_BYTES}`);
  }
  const text = await readFile(path, "utf8");
  return wantPlan(readModelPlan(text), text);
}

/**
 * What a coordinator needs of a plan.
 *
 * @param text the document as it is written; its hash names the plan
 * @throws NoodleError `PLAN_INFEASIBLE` for a document that says that there is no plan
 */
export function wantPlan(plan: ModelPlan, text: string = JSON.stringify(plan)): WantedPlan {
  const { split, order, policy, predicted, model } = plan;
  if (!plan.feasible || split === null || policy === null) {
    const why = plan.infeasible_because?.words ?? "no cut of the model fits";
    throw new NoodleError("PLAN_INFEASIBLE", `the document holds no plan: ${why}`);
  }
  return {
    split,
    order,
    modelHeaderSha256: model.header_sha256,
    terms: {
      sha256: createHash("sha256").update(text).digest("hex"),
      decodeInFlight: policy.decode_in_flight,
      maxDecodeRows: policy.max_decode_rows,
      prefillRows: policy.prefill_rows,
      mixedPrefillRows: policy.mixed_prefill_rows,
      predictedPeriodMs: predicted?.period_ms ?? null,
      predictedLatencyMs: predicted?.round_ms ?? null,
      predictedTokensPerSec: predicted?.tokens_per_s ?? null,
    },
  };
}
