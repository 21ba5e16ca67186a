import { NoodleError } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";
import type { ModelSource } from "./model-source.ts";
import { type CompiledCoordinatorOptions, DEFAULT_CONTEXT_TOKENS } from "./options.ts";
import type { SpreadRules } from "../state/index.ts";
import { readWantedSplit } from "./replan-request.ts";

/** Context of every session: what is asked for, otherwise the default or the model's if that is less. @throws USAGE */
export function chooseContext(wanted: number | null, trained: number): number {
  if (wanted === null) return trained === 0 ? DEFAULT_CONTEXT_TOKENS : Math.min(DEFAULT_CONTEXT_TOKENS, trained);
  if (trained !== 0 && wanted > trained) {
    throw new NoodleError(
      "USAGE",
      `a context of ${wanted} tokens was asked for, the model's limit is ${trained} (--context)`,
    );
  }
  return wanted;
}

/**
 * Stages of the first plan. A plan may leave workers out; a split has one for each.
 *
 * @throws SPLIT_INVALID; PLAN_INVALID for a plan of another model, or with more stages than there are to be workers
 */
export function chooseSplit(source: ModelSource, options: CompiledCoordinatorOptions): readonly UnitRange[] {
  const { split, plan, expect } = options;
  if (plan !== null) {
    if (split !== null) throw new NoodleError("USAGE", "a plan has a split of its own: give --plan or --split");
    const stages = readWantedSplit(source, plan);
    if (stages.length <= expect) return stages;
    throw new NoodleError(
      "PLAN_INVALID",
      `the plan has ${stages.length} stages (${plan.order.join(", ")}) for ${expect} workers: start as many, or plan for ${expect}`,
    );
  }
  const stages = split === null ? source.splitByBytes(expect) : source.parseSplit(split);
  if (stages.length === expect) return stages;
  throw new NoodleError(
    "SPLIT_INVALID",
    `the split has ${stages.length} stages for ${expect} workers (--split, --expect)`,
  );
}

/** How the model's units may be spread over fewer workers; undefined where their bytes are not known. */
export function describeSpread(source: ModelSource): SpreadRules | undefined {
  const { unitBytes, unitCount } = source;
  if (unitBytes === undefined) return undefined;
  const cuts = Array.from({ length: unitCount - 1 }, (_, index) => index + 1).filter((cut) => isLegal(source, cut));
  return { unitBytes, cuts };
}

function isLegal(source: ModelSource, cut: number): boolean {
  try {
    source.parseSplit(`0:${cut},${cut}:${source.unitCount}`);
    return true;
  } catch (error) {
    if (error instanceof NoodleError) return false;
    throw error;
  }
}
