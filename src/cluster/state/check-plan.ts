import { NoodleError } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";
import type { ClusterState, Plan, PlannedStage } from "./types.ts";

export function formatUnits(units: UnitRange): string {
  return `${units.first}:${units.end}`;
}

/**
 * @returns ids of the holders
 * @throws NoodleError ILLEGAL_STATE for an epoch that is not above every one before, a unit twice or missing, and a
 * holder that is not there or has two stages
 */
export function checkPlan(state: ClusterState, plan: Plan): ReadonlySet<string> {
  if (plan.epoch <= state.lastEpoch) {
    throw new NoodleError("ILLEGAL_STATE", `plan epoch ${plan.epoch} is not above ${state.lastEpoch}`);
  }
  const holders = new Set<string>();
  let unit = 0;
  for (const { units, nodeId } of plan.stages) {
    const node = nodeId === null ? undefined : state.nodes.get(nodeId);
    if (
      units.first !== unit ||
      units.end <= units.first ||
      node === undefined ||
      node.phase === "lost" ||
      holders.has(node.id)
    ) {
      throw new NoodleError(
        "ILLEGAL_STATE",
        `plan ${plan.epoch}: stage ${formatUnits(units)} of ${nodeId} breaks the plan's rules`,
      );
    }
    holders.add(node.id);
    unit = units.end;
  }
  return holders;
}

/** Tells layouts apart: who holds which units. */
export function layoutKey(stages: readonly PlannedStage[]): string {
  return stages.map(({ units, nodeId }) => `${formatUnits(units)}@${nodeId}`).join(",");
}
