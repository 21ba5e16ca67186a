import type { Fault, NodeState, StageStatus } from "./types.ts";

/** What a report of a stage that does not serve means. */
export function failureOf(node: NodeState, report: StageStatus): Fault {
  if (report.error !== null) return { ...report.error, nodeId: node.id };
  return report.phase === "failed"
    ? { code: "ENGINE_FAILED", message: `worker ${node.name} (${node.id}) could not serve its stage`, nodeId: node.id }
    : {
        code: "ENGINE_ABORTED",
        message: `the engine process of worker ${node.name} (${node.id}) died`,
        nodeId: node.id,
      };
}
