import type { UnitRange } from "../../engine/index.ts";
import { formatUnits } from "./check-plan.ts";
import type { ClusterState, Fault, NodeState, StageStatus } from "./types.ts";

/** Holds a stage's self-test against what the same units gave before. `fault` is null where there is no difference. */
export function compareCanary(
  state: ClusterState,
  node: NodeState,
  units: UnitRange,
  report: StageStatus,
): { readonly canaries: ClusterState["canaries"]; readonly fault: Fault | null } {
  const { canaries } = state;
  if (report.phase !== "ready" || report.canarySha256 === "") return { canaries, fault: null };
  const key = canaryKey(state, node, units, report.epoch);
  const known = canaries.get(key);
  const { canarySha256: sha256 } = report;
  if (known === undefined) return { canaries: new Map(canaries).set(key, { sha256, nodeId: node.id }), fault: null };
  if (known.sha256 === sha256) return { canaries, fault: null };
  const where = known.nodeId === node.id ? "earlier" : `worker ${known.nodeId}`;
  const message =
    `worker ${node.name} (${node.id}) got ${sha256} in the self-test of units ` +
    `${formatUnits(units)}, ${where} it was ${known.sha256}`;
  return { canaries, fault: { code: "CANARY_MISMATCH", message, nodeId: node.id } };
}

function canaryKey(state: ClusterState, node: NodeState, units: UnitRange, epoch: number): string {
  const { engineBuild, cpuVariant } = node.capabilities;
  const { config } = state;
  const plan = [state.plan, state.next?.plan].find((known) => known?.epoch === epoch);
  const threads = plan?.stages.find(({ nodeId }) => nodeId === node.id)?.threads ?? node.capabilities.threads;
  const variant = config.cpuVariant === "" ? cpuVariant : config.cpuVariant;
  return JSON.stringify([formatUnits(units), engineBuild, variant, config.threads === 0 ? threads : config.threads]);
}
