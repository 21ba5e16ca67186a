import { NoodleError } from "../../common/index.ts";
import { fromErrorInfo, type StepError } from "../../protocol/index.ts";
import type { Fault } from "../state/index.ts";
import { toFault } from "./convert.ts";
import type { StageClient } from "./stage-client.ts";

/** True when the fault is a node's absence, not its answer. */
export function isPeerFault({ code }: Pick<Fault, "code">): boolean {
  return code === "PEER_DEAD" || code === "PEER_UNREACHABLE" || code === "PEER_STALLED";
}

/**
 * True when the fault is no request's: a node is gone, a frame was damaged on its way, or a stage belongs to another plan.
 * Other stages, or the same ones in a new epoch, can do what was not done.
 */
export function isStageFault(fault: Pick<Fault, "code">): boolean {
  const { code } = fault;
  return isPeerFault(fault) || code === "FRAME_CORRUPT" || code === "STALE_EPOCH" || code === "CLUSTER_NOT_READY";
}

/** Session ids that a stage names as the cause of a failed step. */
export function readGuilty(error: NoodleError): readonly string[] {
  const named = error.details["sessionIds"];
  return Array.isArray(named) ? named.filter((id) => typeof id === "string") : [];
}

export function readError(message: StepError): NoodleError {
  return message.error === undefined
    ? new NoodleError("INTERNAL", "an error without a cause")
    : fromErrorInfo(message.error);
}

/** What the end of a stream says about the stage on its other side. */
export function streamFault(error: NoodleError, stage: StageClient): Fault {
  const gone = error.code === "PEER_UNREACHABLE" || error.code === "INTERRUPTED" || error.code === "PEER_DEAD";
  const message = `the stream to worker ${stage.name} (${stage.nodeId}) broke: ${error.message}`;
  return { ...toFault(error, stage.nodeId), code: gone ? "PEER_DEAD" : error.code, message };
}
