import { createHash, randomBytes, timingSafeEqual, X509Certificate } from "node:crypto";
import { NoodleError } from "../common/index.ts";

/** What lets one worker into a cluster, once. */
export interface JoinToken {
  /** SHA-256 of the authority's certificate, hex: checked before the secret leaves the worker. */
  readonly authoritySha256: string;
  /** Names the record; no secret. */
  readonly id: string;
  readonly secret: string;
}

const FORM = /^noodle1\.([0-9a-f]{64})\.([0-9a-f]{16})\.([A-Za-z0-9_-]{43})$/;
const SECRET_BYTES = 32;
const ID_BYTES = 8;

export function makeJoinToken(authorityPem: string): JoinToken {
  return {
    authoritySha256: hashCertificate(authorityPem),
    id: randomBytes(ID_BYTES).toString("hex"),
    secret: randomBytes(SECRET_BYTES).toString("base64url"),
  };
}

export function writeJoinToken({ authoritySha256, id, secret }: JoinToken): string {
  return `noodle1.${authoritySha256}.${id}.${secret}`;
}

/** @throws NoodleError `JOIN_TOKEN_INVALID`; the message does not show the token */
export function readJoinToken(text: string): JoinToken {
  const [, authoritySha256, id, secret] = FORM.exec(text.trim()) ?? [];
  if (authoritySha256 === undefined || id === undefined || secret === undefined) {
    throw new NoodleError("JOIN_TOKEN_INVALID", "the join token is not of the form noodle1.<hash>.<id>.<secret>");
  }
  return { authoritySha256, id, secret };
}

/** SHA-256 of a certificate, hex. @param certificate PEM or DER */
export function hashCertificate(certificate: string | Uint8Array): string {
  const { raw } = new X509Certificate(certificate);
  return createHash("sha256").update(raw).digest("hex");
}

/** SHA-256 of a secret that nobody can guess, hex. */
export function hashSecret(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

/** In a time that does not tell where they differ. @param one hex; @param other hex */
export function isSameHash(one: string, other: string): boolean {
  const a = Buffer.from(one, "hex");
  const b = Buffer.from(other, "hex");
  return a.length > 0 && a.length === b.length && timingSafeEqual(a, b);
}
