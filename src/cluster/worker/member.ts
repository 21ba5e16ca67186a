import { once } from "node:events";
import { connect, type DetailedPeerCertificate } from "node:tls";
import { NoodleError } from "../../common/index.ts";
import { type ClientSecurity, createClient } from "../../net/index.ts";
import { EnrollmentService } from "../../protocol/index.ts";
import {
  type Credentials,
  hashCertificate,
  isDueForRenewal,
  isSameHash,
  type JoinToken,
  NodeFolder,
} from "../../security/index.ts";

import { backoffMs, sleep } from "./backoff.ts";

export interface WorkerMemberOptions {
  /** host:port of the coordinator. */
  readonly address: string;
  readonly token: JoinToken;
  readonly dataDirectory: string;
  /** How people call this worker. */
  readonly name: string;
}

const CONNECT_MS = 5000;
const ENROLL_MS = 15_000;
const WAIT_MS = 10_000;
const RETRY = { firstMs: 100, capMs: 2000 };
const RENEWAL_CHECK_MS = 3600_000;
/** An authority is one step away; a longer chain is none of ours. */
const MAX_CHAIN = 4;

/** A worker's membership in a cluster: its certificate, which it asks for with the token once, and renews in time. */
export class WorkerMember implements Disposable {
  readonly #options: WorkerMemberOptions;
  readonly #listeners: ((credentials: Credentials) => void)[] = [];
  #credentials: Credentials | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: WorkerMemberOptions) {
    this.#options = options;
  }

  /** How this worker reaches the coordinator, from `open` on. */
  get towardsCoordinator(): ClientSecurity {
    return { credentials: () => this.current, peer: { role: "coordinator" } };
  }

  /** @throws NoodleError `ILLEGAL_STATE` before `open` */
  get current(): Credentials {
    if (this.#credentials === undefined) throw new NoodleError("ILLEGAL_STATE", "this worker is no member yet");
    return this.#credentials;
  }

  /** Called with each renewed certificate. */
  onRenewed(listener: (credentials: Credentials) => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Reads the certificate that is there, or asks for one: the authority's hash is compared first, and the token's secret
   * leaves only to who has a certificate of that authority.
   *
   * @throws NoodleError `PEER_UNTRUSTED`, `PEER_UNREACHABLE`, `JOIN_TOKEN_INVALID`, `ACCESS_DENIED`,
   * `SECURITY_FILE_INVALID`
   */
  async open(nodeId: string, onError: (error: NoodleError) => void): Promise<void> {
    const { token, dataDirectory } = this.#options;
    const folder = new NodeFolder(dataDirectory, nodeId, token.authoritySha256);
    this.#credentials = folder.read(Date.now()) ?? (await this.#enroll(folder, nodeId));
    this.#timer = setInterval(() => {
      this.#renew(folder, nodeId).catch((error: unknown) => onError(NoodleError.from(error)));
    }, RENEWAL_CHECK_MS);
    this.#timer.unref();
    await this.#renew(folder, nodeId).catch((error: unknown) => onError(NoodleError.from(error)));
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  async #enroll(folder: NodeFolder, nodeId: string): Promise<Credentials> {
    const { address, token } = this.#options;
    const authorityPem = await waitForAuthority(address, token.authoritySha256);
    const stranger = { authorityPem, certificatePem: "", privateKeyPem: "" };
    return this.#ask(folder, nodeId, token, {
      credentials: () => stranger,
      peer: { role: "coordinator" },
      isStranger: true,
    });
  }

  async #renew(folder: NodeFolder, nodeId: string): Promise<void> {
    if (!isDueForRenewal(this.current.certificatePem, Date.now())) return;
    this.#credentials = await this.#ask(folder, nodeId, { id: "", secret: "" }, this.towardsCoordinator);
    for (const listener of this.#listeners) listener(this.#credentials);
  }

  async #ask(
    folder: NodeFolder,
    nodeId: string,
    { id, secret }: Pick<JoinToken, "id" | "secret">,
    security: ClientSecurity,
  ): Promise<Credentials> {
    const { address, name } = this.#options;
    const { authorityPem } = security.credentials();
    const { privateKeyPem, request } = await folder.makeRequest();
    const client = createClient(EnrollmentService, address, { security });
    try {
      const asked = { nodeId, name, request, tokenId: id, secret };
      const { certificate } = await client.rpc.enroll(asked, { timeoutMs: ENROLL_MS });
      const credentials = { authorityPem, certificatePem: certificate, privateKeyPem };
      folder.write(credentials);
      return credentials;
    } finally {
      client.close();
    }
  }
}

/** A worker may be there a little before its coordinator. @throws as `fetchAuthority` */
async function waitForAuthority(address: string, authoritySha256: string): Promise<string> {
  const deadlineMs = performance.now() + WAIT_MS;
  for (let attempt = 0; ; attempt++) {
    try {
      return await fetchAuthority(address, authoritySha256);
    } catch (error) {
      const isGone = error instanceof NoodleError && error.code === "PEER_UNREACHABLE";
      if (!isGone || performance.now() > deadlineMs) throw error;
      await sleep(backoffMs(attempt, RETRY, Math.random()));
    }
  }
}

/**
 * The authority of whoever answers there, if it is the one that the token names. Nothing is said to the peer.
 *
 * @throws NoodleError `PEER_UNREACHABLE`, `PEER_UNTRUSTED`
 */
async function fetchAuthority(address: string, authoritySha256: string): Promise<string> {
  const { hostname, port } = new URL(`tcp://${address}`);
  const host = hostname.replace(/^\[|\]$/g, "");
  // The hash stands for the check; until it is made nothing is believed, and nothing sent.
  const socket = connect({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] });
  try {
    await once(socket, "secureConnect", { signal: AbortSignal.timeout(CONNECT_MS) });
    const authority = findAuthority(socket.getPeerCertificate(true), authoritySha256);
    if (authority !== undefined) return authority;
    const text = `${address} is not of the cluster that the join token is for: the token's secret was not sent`;
    throw new NoodleError("PEER_UNTRUSTED", text, { details: { peer: address } });
  } catch (error) {
    if (error instanceof NoodleError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new NoodleError("PEER_UNREACHABLE", `${address} does not answer with TLS: ${why}`, { cause: error });
  } finally {
    socket.destroy();
  }
}

function findAuthority(shown: DetailedPeerCertificate, authoritySha256: string): string | undefined {
  let certificate: DetailedPeerCertificate | undefined = shown;
  for (let depth = 0; depth < MAX_CHAIN && certificate?.raw !== undefined; depth++) {
    if (isSameHash(hashCertificate(certificate.raw), authoritySha256)) return toPem(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return undefined;
}

function toPem(der: Buffer): string {
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
