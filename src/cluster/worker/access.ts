import { NoodleError } from "../../common/index.ts";
import type { ServerSecurity } from "../../net/index.ts";
import { StageService, StreamRole } from "../../protocol/index.ts";
import { type Credentials, type PeerIdentity, writeIdentity } from "../../security/index.ts";

const FORWARD = `/${StageService.typeName}/ExecuteForward`;

/** A stage is the coordinator's to command; other nodes may send it steps, if its plan says that they come from there. */
export function secureStage(credentials: Credentials, isRevoked: (nodeId: string) => boolean): ServerSecurity {
  return {
    credentials,
    authorize: (peer, method) => {
      if (peer?.role === "coordinator") return null;
      const isNode = peer?.role === "node" && !isRevoked(peer.nodeId);
      if (isNode && method === FORWARD) return null;
      const who = peer === null ? "a stranger" : writeIdentity(peer);
      return new NoodleError("ACCESS_DENIED", `${who} may not call ${method}`);
    },
  };
}

/**
 * Whether whoever opens a stream may: the coordinator, or the node that the plan puts before this stage.
 *
 * @param identity null in a cluster without an authority
 * @throws NoodleError `ACCESS_DENIED`
 */
export function checkSender(identity: PeerIdentity | null, role: StreamRole, previousNodeId: string): void {
  if (identity === null || identity.role === "coordinator") return;
  const isPrevious = identity.role === "node" && identity.nodeId === previousNodeId;
  if (isPrevious && role === StreamRole.STEPS) return;
  throw new NoodleError("ACCESS_DENIED", `${writeIdentity(identity)} is not the stage before this one`);
}
