import type { PeerCertificate } from "node:tls";
import { type PeerIdentity, readIdentity } from "../security/index.ts";

/** The part of the library's server calls that tells whose connection it is. */
export interface AuthenticatedCall {
  getAuthContext(): { readonly sslPeerCertificate?: PeerCertificate };
}

/** Whose certificate came with the connection; null where none of the cluster did. */
export function readPeer(call: AuthenticatedCall): PeerIdentity | null {
  return readIdentity(call.getAuthContext().sslPeerCertificate?.subjectaltname);
}
