import { NoodleError } from "../../common/index.ts";
import type { UnitRange } from "../../engine/index.ts";
import { type ClusterState, formatUnits, type NodeState, type PlannedStage, type PlanTerms } from "../state/index.ts";
import type { ModelSource } from "./model-source.ts";

/** Where a model is to be cut, and who serves which part: what a `noodle.model_plan.v1` says of it. */
export interface WantedPlan {
  /** `0:6,6:14` */
  readonly split: string;
  /** Names or ids of the nodes, in the order of the stages. */
  readonly order: readonly string[];
  readonly terms: PlanTerms;
  /** Header of the model that it was made for, hex; null = not known. */
  readonly modelHeaderSha256: string | null;
}

/** @throws PLAN_INVALID for a plan of another model, or of another number of nodes than stages; SPLIT_INVALID */
export function readWantedSplit(source: ModelSource, wanted: WantedPlan): readonly UnitRange[] {
  const { split, order, modelHeaderSha256 } = wanted;
  const ours = Buffer.from(source.identity.headerSha256).toString("hex");
  if (modelHeaderSha256 !== null && ours !== "" && modelHeaderSha256 !== ours) {
    throw new NoodleError(
      "PLAN_INVALID",
      `the plan was made for a model with header ${modelHeaderSha256.slice(0, 16)}, this one's is ${ours.slice(0, 16)}: plan this model`,
    );
  }
  const stages = source.parseSplit(split);
  if (stages.length !== order.length) {
    throw new NoodleError(
      "PLAN_INVALID",
      `the plan names ${order.length} nodes for the ${stages.length} stages of ${split}: each stage has one`,
    );
  }
  const twice = order.find((name, index) => order.indexOf(name) !== index);
  if (twice !== undefined) throw new NoodleError("PLAN_INVALID", `the plan names node "${twice}" for two stages`);
  return stages;
}

/**
 * Finds the plan's nodes among the cluster's.
 *
 * @throws PLAN_INVALID for a node that is not there, or leaves; PLAN_INFEASIBLE for one whose memory is less than its
 * stage's weights
 */
export function placeWanted(state: ClusterState, source: ModelSource, wanted: WantedPlan): readonly PlannedStage[] {
  const stages = readWantedSplit(source, wanted);
  const present = [...state.nodes.values()].filter((node) => node.phase !== "lost" && node.phase !== "draining");
  if (wanted.order.length > present.length) {
    throw new NoodleError(
      "PLAN_INVALID",
      `the plan wants ${wanted.order.length} workers (${wanted.order.join(", ")}), ${present.length} are there: start the others, or plan for these`,
    );
  }
  return stages.map((units, index) => {
    const node = findNode(present, wanted.order[index] ?? "");
    requireMemory(source, units, node);
    return { units, nodeId: node.id };
  });
}

/** Bytes of the weights in `units` that lie outside `held`; 0 where they are not known. */
export function countNewBytes(source: ModelSource, units: UnitRange, held: UnitRange | null): number {
  const bytes = source.unitBytes ?? [];
  let total = 0;
  for (let unit = units.first; unit < units.end; unit++) {
    if (held === null || unit < held.first || unit >= held.end) total += bytes[unit] ?? 0;
  }
  return total;
}

/** @throws PLAN_INVALID */
export function findNode(present: readonly NodeState[], name: string): NodeState {
  const byId = present.find((node) => node.id === name);
  if (byId !== undefined) return byId;
  const named = present.filter((node) => node.name === name);
  const [node] = named;
  if (node !== undefined && named.length === 1) return node;
  const names = present.map((each) => each.name).join(", ");
  const what = named.length > 1 ? `${named.length} workers are called "${name}"` : `there is no worker "${name}"`;
  throw new NoodleError("PLAN_INVALID", `${what}; there are ${names}: name the nodes of the plan as these, or by id`);
}

function requireMemory(source: ModelSource, units: UnitRange, { name, capabilities }: NodeState): void {
  const needBytes = countNewBytes(source, units, null);
  const { memoryLimitBytes, memoryTotalBytes } = capabilities;
  const haveBytes = memoryLimitBytes > 0 ? memoryLimitBytes : memoryTotalBytes;
  if (haveBytes === 0 || needBytes <= haveBytes) return;
  throw new NoodleError(
    "PLAN_INFEASIBLE",
    `units ${formatUnits(units)} are ${needBytes} bytes of weights, worker ${name} has ${haveBytes}: give it fewer units`,
    { details: { needBytes, haveBytes } },
  );
}
