import { NoodleError } from "../common/index.ts";
import { countStageMemory } from "./memory.ts";
import type { PlanModelInput } from "./plan-types.ts";
import { Setup, type StagePlace } from "./setup.ts";
import { valueBest, valueSingle } from "./value.ts";
import { compileWorkload } from "./workload.ts";

/** What a plan that exists already is worth. */
export interface PlacesValue {
  /** All streams together, batched as suits the plan best. */
  readonly tokensPerS: number;
  readonly itlMs: number;
  /** Of one stream alone. */
  readonly singleItlMs: number;
  readonly stages: readonly (StagePlace & {
    /** One micro-batch. */
    readonly decodeMs: number;
    readonly weightsBytes: number;
    /** Weights, KV, buffers and processes. */
    readonly memoryBytes: number;
  })[];
}

/**
 * Values stages that somebody chose, under the costs of `input`. Null for a plan that does not fit.
 *
 * @throws NoodleError `PLAN_INVALID` for a stage on a node that there is not, or cut where the model may not be cut;
 *   `USAGE`, `CONTEXT_EXCEEDED` for a workload out of range
 */
export function valuePlaces(
  input: Pick<PlanModelInput, "model" | "cluster" | "nodes" | "workload">,
  places: readonly StagePlace[],
): PlacesValue | null {
  const { model, cluster, nodes } = input;
  const strange = places.find(({ node }) => !nodes.some(({ name }) => name === node));
  if (strange !== undefined) throw new NoodleError("PLAN_INVALID", `the cluster has no node "${strange.node}"`);
  const setup = new Setup(model, cluster, nodes, compileWorkload(input.workload, model));
  const stages = setup.toStages(places);
  if (stages === null) {
    const words = places.map(({ first, end }) => `${first}:${end}`).join(",");
    throw new NoodleError("PLAN_INVALID", `the model cannot be cut into ${words}`);
  }
  const best = valueBest(setup, stages);
  if (best === null) return null;
  return {
    tokensPerS: best.tokensPerS,
    itlMs: best.itlMs,
    singleItlMs: valueSingle(setup, stages).roundMs,
    stages: best.places.map((place, index) => {
      const { weightsBytes, kvBytes, reserveBytes } = countStageMemory(model, setup.workload, place);
      return {
        ...place,
        decodeMs: best.value.stage_ms[index] ?? 0,
        weightsBytes,
        memoryBytes: weightsBytes + kvBytes + reserveBytes,
      };
    }),
  };
}
