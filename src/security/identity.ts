/** Who a certificate says that its holder is. */
export type PeerIdentity =
  | { readonly role: "coordinator" }
  /** A person or program that asks the coordinator things. */
  | { readonly role: "operator" }
  | { readonly role: "node"; readonly nodeId: string };

export const NODE_ID = /^n-[0-9a-f]{12}$/;
const URI = /^URI:noodle:(coordinator|operator|node:(n-[0-9a-f]{12}))$/;

/** The name in certificates; a certificate of a member has this one alone. */
export function writeIdentity(identity: PeerIdentity): string {
  return identity.role === "node" ? `noodle:node:${identity.nodeId}` : `noodle:${identity.role}`;
}

/**
 * @param subjectAltName as Node writes it
 * @returns null where it is the certificate of no member
 */
export function readIdentity(subjectAltName: string | undefined): PeerIdentity | null {
  const match = URI.exec(subjectAltName ?? "");
  if (match === null) return null;
  const [, role = "", nodeId] = match;
  if (nodeId !== undefined) return { role: "node", nodeId };
  return role === "coordinator" ? { role } : { role: "operator" };
}

export function isSameIdentity(one: PeerIdentity, other: PeerIdentity): boolean {
  return writeIdentity(one) === writeIdentity(other);
}
