export { ApiKeys } from "./api-keys.ts";
export { ClusterFolder, makeKey } from "./cluster-folder.ts";
export { type Credentials, isDueForRenewal } from "./credentials.ts";
export { checkExposure, isLoopback, OPEN_OPTION } from "./exposure.ts";
export { isSameIdentity, type PeerIdentity, readIdentity, writeIdentity } from "./identity.ts";
export { hashCertificate, isSameHash, type JoinToken, readJoinToken } from "./join-token.ts";
export { Membership } from "./membership.ts";
export { NodeFolder } from "./node-folder.ts";
export { Roster } from "./roster.ts";
