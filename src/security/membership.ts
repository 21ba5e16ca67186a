import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import type { ClusterFolder } from "./cluster-folder.ts";
import { takeAway } from "./files.ts";
import { NODE_ID, type PeerIdentity, writeIdentity } from "./identity.ts";
import { hashSecret, isSameHash, makeJoinToken, writeJoinToken } from "./join-token.ts";
import { DAY_MS, loadCertificates } from "./load-certificates.ts";
import { NODE_RECORD, RecordFolder, REVOCATION_RECORD, TOKEN_RECORD } from "./records.ts";

/** Of a node's certificate, which is renewed when half of it is over. */
const NODE_DAYS = 30;

/** How a node asks for its certificate, or for the next one. */
export interface EnrollmentRequest {
  readonly nodeId: string;
  /** For people. */
  readonly name: string;
  /** PKCS #10, DER. */
  readonly request: Uint8Array;
  /** Empty where a member renews. */
  readonly tokenId: string;
  readonly secret: string;
}

export interface MemberNode {
  readonly nodeId: string;
  readonly name: string;
  readonly issuedMs: number;
  readonly expiresMs: number;
  readonly revoked: boolean;
}

/** Who may be in the cluster: tokens, nodes, and those that may no more. All of it is on disk before it is answered. */
export class Membership {
  readonly #folder: ClusterFolder;
  readonly #tokens: RecordFolder<typeof TOKEN_RECORD>;
  readonly #nodes: RecordFolder<typeof NODE_RECORD>;
  readonly #revoked: RecordFolder<typeof REVOCATION_RECORD>;

  constructor(folder: ClusterFolder) {
    this.#folder = folder;
    this.#tokens = new RecordFolder(join(folder.path, "tokens"), TOKEN_RECORD);
    this.#nodes = new RecordFolder(join(folder.path, "nodes"), NODE_RECORD);
    this.#revoked = new RecordFolder(join(folder.path, "revoked"), REVOCATION_RECORD);
  }

  /** A token for one worker. It cannot be shown again: only its hash is kept. */
  makeToken(ttlMs: number, nowMs: number): string {
    for (const { id, record } of this.#tokens.list()) {
      if (record.expires_ms <= nowMs) rmSync(this.#tokens.pathOf(id), { force: true });
    }
    const token = makeJoinToken(this.#folder.authorityPem);
    const record = { secret_sha256: hashSecret(token.secret), created_ms: nowMs, expires_ms: nowMs + ttlMs };
    this.#tokens.add(token.id, record);
    return writeJoinToken(token);
  }

  /**
   * A certificate for a node: for a token, which is used up by it, or for the certificate that it has.
   *
   * @param peer who asks, by the connection; null where it has shown no certificate
   * @returns PEM
   * @throws NoodleError `JOIN_TOKEN_INVALID`, `ACCESS_DENIED`, `REQUEST_INVALID`
   */
  async enroll(asked: EnrollmentRequest, peer: PeerIdentity | null, nowMs: number): Promise<string> {
    const { nodeId, name } = asked;
    if (!NODE_ID.test(nodeId) || name.length > 256) throw new NoodleError("REQUEST_INVALID", "this is no node's name");
    const { readRequest } = await loadCertificates();
    const publicKey = await readRequest(asked.request);
    const keySha256 = createHash("sha256").update(publicKey).digest("hex");
    const isRenewal = peer?.role === "node" && peer.nodeId === nodeId;
    const token = isRenewal ? null : this.#findToken(asked, nowMs);
    this.#requireFree(nodeId, keySha256);
    // Of two that come with one token, one takes it.
    if (token !== null && !takeAway(this.#tokens.pathOf(token), `${this.#tokens.pathOf(token)}.used`)) throw unknown();
    const identity: PeerIdentity = { role: "node", nodeId };
    const subject = { commonName: nodeId, uris: [writeIdentity(identity)] };
    const certificatePem = await this.#folder.issue(publicKey, subject, nowMs, NODE_DAYS);
    const expiresMs = nowMs + NODE_DAYS * DAY_MS;
    this.#nodes.put(nodeId, { name, public_key_sha256: keySha256, issued_ms: nowMs, expires_ms: expiresMs });
    return certificatePem;
  }

  list(): readonly MemberNode[] {
    const revoked = new Set(this.revoked());
    return this.#nodes.list().map(({ id, record }) => ({
      nodeId: id,
      name: record.name,
      issuedMs: record.issued_ms,
      expiresMs: record.expires_ms,
      revoked: revoked.has(id),
    }));
  }

  /** Ids of nodes that may no more be in the cluster. */
  revoked(): readonly string[] {
    return this.#revoked.ids();
  }

  /**
   * Shuts a node out for good.
   *
   * @param node id, or a name that one node alone has
   * @returns its id
   * @throws NoodleError `USAGE` where there is none, or there are several of that name
   */
  revoke(node: string, nowMs: number): string {
    const all = this.list();
    const named = all.filter(({ nodeId, name, revoked }) => nodeId === node || (name === node && !revoked));
    const [found] = named;
    if (found === undefined || named.length > 1) {
      const what = found === undefined ? "no node" : `${named.length} nodes`;
      throw new NoodleError("USAGE", `${what} of the name "${node}": \`noodle cluster nodes\` lists their ids`);
    }
    this.#revoked.add(found.nodeId, { revoked_ms: nowMs });
    return found.nodeId;
  }

  #findToken({ tokenId, secret }: EnrollmentRequest, nowMs: number): string {
    const record = /^[0-9a-f]{16}$/.test(tokenId) ? this.#tokens.find(tokenId) : undefined;
    // One answer for all that is wrong with it: whoever guesses learns nothing.
    if (record === undefined || !isSameHash(record.secret_sha256, hashSecret(secret))) throw unknown();
    if (record.expires_ms <= nowMs) throw unknown();
    return tokenId;
  }

  #requireFree(nodeId: string, keySha256: string): void {
    if (this.#revoked.find(nodeId) !== undefined) {
      throw new NoodleError("ACCESS_DENIED", `node ${nodeId} was shut out of the cluster`);
    }
    const known = this.#nodes.find(nodeId);
    if (known === undefined || known.public_key_sha256 === keySha256) return;
    throw new NoodleError("ACCESS_DENIED", `there is a node ${nodeId} with another key`);
  }
}

function unknown(): NoodleError {
  return new NoodleError("JOIN_TOKEN_INVALID", "the join token is not known, was used, or has expired");
}
