import { createSecureContext, type PeerCertificate, type TlsOptions } from "node:tls";
import { type ChannelCredentials, credentials } from "@grpc/grpc-js";
import { NoodleError } from "../common/index.ts";
import { type Credentials, isSameIdentity, type PeerIdentity, readIdentity, writeIdentity } from "../security/index.ts";

/** How a client shows who it is, and whom it wants to reach. */
export interface ClientSecurity {
  /** Asked for each connection: certificates are renewed. */
  readonly credentials: () => Credentials;
  /** The address may be anybody's; the certificate must be this one's. */
  readonly peer: PeerIdentity;
  /** Shows no certificate: how a worker asks for its first. @default false */
  readonly isStranger?: boolean;
}

/** How a server knows who calls. */
export interface ServerSecurity {
  readonly credentials: Credentials;
  /** Lets those in that show no certificate; `authorize` says what they may call. @default false: the handshake fails */
  readonly allowStrangers?: boolean;
  /**
   * Whether this peer may make this call.
   *
   * @param peer null where it has shown no certificate of the cluster
   * @param method as in `/package.Service/Method`
   * @returns why not; null when it may
   */
  readonly authorize: (peer: PeerIdentity | null, method: string) => NoodleError | null;
}

const LEAST_VERSION = "TLSv1.3";
const HANDSHAKE_MS = 5000;

export function openClientContext({ credentials: read, peer, isStranger = false }: ClientSecurity): ChannelCredentials {
  const { authorityPem, certificatePem, privateKeyPem } = read();
  const own = isStranger ? {} : { cert: certificatePem, key: privateKeyPem };
  const context = createSecureContext({ ca: authorityPem, minVersion: LEAST_VERSION, ...own });
  const checkServerIdentity = (_host: string, certificate: PeerCertificate): Error | undefined => {
    const shown = readIdentity(certificate.subjectaltname);
    if (shown !== null && isSameIdentity(shown, peer)) return undefined;
    const who = shown === null ? "no member" : writeIdentity(shown);
    return new NoodleError("PEER_UNTRUSTED", `the certificate is that of ${who}, not of ${writeIdentity(peer)}`);
  };
  return credentials.createFromSecureContext(context, { checkServerIdentity, rejectUnauthorized: true });
}

export function makeTlsOptions({ credentials: own, allowStrangers = false }: ServerSecurity): TlsOptions {
  return {
    ...makeKeyOptions(own),
    minVersion: LEAST_VERSION,
    ALPNProtocols: ["h2"],
    requestCert: true,
    rejectUnauthorized: !allowStrangers,
    handshakeTimeout: HANDSHAKE_MS,
  };
}

/** The authority's certificate goes along: a worker compares its hash before it says anything. */
export function makeKeyOptions({ authorityPem, certificatePem, privateKeyPem }: Credentials): TlsOptions {
  return { ca: authorityPem, cert: `${certificatePem}${authorityPem}`, key: privateKeyPem };
}
