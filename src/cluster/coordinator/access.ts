import { NoodleError } from "../../common/index.ts";
import { bindService, type ServerSecurity, type ServiceBinding } from "../../net/index.ts";
import { CoordinatorService, EnrollmentService, TransferService } from "../../protocol/index.ts";
import {
  type Credentials,
  type Membership,
  type PeerIdentity,
  type Roster,
  writeIdentity,
} from "../../security/index.ts";

/** How a coordinator knows its members. All of it stays the caller's. */
export interface CoordinatorSecurity {
  readonly credentials: Credentials;
  readonly membership: Membership;
  readonly roster: Roster;
}

const ENROLL = `/${EnrollmentService.typeName}/Enroll`;
/** What nodes may call; the rest is for operators. */
const NODE_METHODS: readonly string[] = [
  `/${CoordinatorService.typeName}/Join`,
  `/${CoordinatorService.typeName}/Ping`,
  `/${TransferService.typeName}/FetchRanges`,
];

export function secureCoordinator({ credentials, roster }: CoordinatorSecurity): ServerSecurity {
  return {
    credentials,
    // A worker without a certificate asks for one; it can call nothing else.
    allowStrangers: true,
    authorize: (peer, method) => authorizeCall(peer, method, roster.revoked),
  };
}

export function bindEnrollment({ membership }: CoordinatorSecurity): ServiceBinding {
  return bindService(EnrollmentService, {
    enroll: async ({ nodeId, name, request, tokenId, secret }, { identity }) => {
      const asked = { nodeId, name, request, tokenId, secret };
      return { certificate: await membership.enroll(asked, identity, Date.now()) };
    },
  });
}

/** Why a peer may not make this call; null when it may. */
function authorizeCall(peer: PeerIdentity | null, method: string, revoked: ReadonlySet<string>): NoodleError | null {
  if (peer?.role === "node" && revoked.has(peer.nodeId)) {
    return new NoodleError("ACCESS_DENIED", `node ${peer.nodeId} was shut out of the cluster`);
  }
  if (method === ENROLL) return null;
  if (peer === null) {
    const text = "a certificate of this cluster is asked for: there is none, or it has ended, or is of another cluster";
    return new NoodleError("ACCESS_DENIED", text);
  }
  const isNodes = NODE_METHODS.includes(method);
  if (isNodes ? peer.role === "node" : peer.role === "operator") return null;
  return new NoodleError("ACCESS_DENIED", `${writeIdentity(peer)} may not call ${method}`);
}
