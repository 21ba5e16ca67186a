import { NoodleError } from "../common/index.ts";
import { modelPlanSchema } from "./plan-schema.ts";
import type { ModelPlan } from "./plan-types.ts";

/** A plan of thousands of nodes with all its tables has a few MiB. */
export const MAX_PLAN_BYTES = 64 * 2 ** 20;
const EXPECTED = "noodle.model_plan.v1";
const MAX_PROBLEMS = 3;

/**
 * Reads a `noodle.model_plan.v1` from text or parsed JSON. Keys that are not known are left out.
 *
 * @throws NoodleError `PLAN_INVALID` for text that is no such document, figures that can't be, and stages that do not
 *   follow one another from unit 0 to the last, each node in one of them
 */
export function readModelPlan(input: unknown): ModelPlan {
  const value = parse(input);
  const found = typeof value === "object" && value !== null && "schema" in value ? value.schema : null;
  if (found !== EXPECTED) {
    const named = typeof found === "string" ? `is ${found.slice(0, 80)}` : "names no schema";
    throw new NoodleError("PLAN_INVALID", `the document ${named}; this release reads ${EXPECTED}`);
  }
  const read = modelPlanSchema.safeParse(value);
  if (!read.success) {
    const problems = read.error.issues
      .slice(0, MAX_PROBLEMS)
      .map(({ path, message }) => `${path.join(".")}: ${message}`);
    throw new NoodleError("PLAN_INVALID", `the plan is not sound: ${problems.join("; ")}`);
  }
  const { baselines, growth, infeasible_because, ...rest } = read.data;
  const plan: ModelPlan = {
    ...rest,
    ...(baselines === undefined ? {} : { baselines }),
    ...(growth === undefined ? {} : { growth }),
    ...(infeasible_because === undefined ? {} : { infeasible_because }),
  };
  if (plan.feasible) checkStages(plan);
  return plan;
}

function parse(input: unknown): unknown {
  if (typeof input !== "string") return input;
  if (Buffer.byteLength(input) > MAX_PLAN_BYTES) {
    throw new NoodleError("PLAN_INVALID", `the plan has more than ${MAX_PLAN_BYTES} bytes`);
  }
  try {
    return JSON.parse(input);
  } catch (cause) {
    throw new NoodleError("PLAN_INVALID", `the plan is no JSON: ${NoodleError.from(cause).message}`, { cause });
  }
}

/** What is said twice has to be the same: a coordinator takes the split, a simulator the stages. */
function checkStages({ stages, split, order, model, policy, predicted }: ModelPlan): void {
  const invalid = (words: string): NoodleError => new NoodleError("PLAN_INVALID", `the plan is not sound: ${words}`);
  let next = 0;
  for (const { node, first, end, units } of stages) {
    if (first !== next || end <= first) throw invalid(`a stage of ${node} is ${first}:${end}; unit ${next} is next`);
    if (units !== `${first}:${end}`) throw invalid(`a stage of ${node} is ${first}:${end} and ${units}`);
    next = end;
  }
  if (next !== model.units) throw invalid(`its stages end at unit ${next}; the model has ${model.units}`);
  if (new Set(order).size !== order.length) throw invalid("a node serves two stages");
  if (stages.map((stage) => stage.units).join(",") !== split)
    throw invalid(`its split ${split} is not that of its stages`);
  if (stages.map((stage) => stage.node).join(" ") !== order.join(" "))
    throw invalid("its order is not that of its stages");
  if (policy === null || predicted === null) throw invalid("it has no policy, or no prediction");
}
