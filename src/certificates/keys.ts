import { createPrivateKey, createPublicKey, type KeyObject, webcrypto } from "node:crypto";
import { CryptoEngine } from "pkijs";

/** All keys of a cluster are of this kind: small, quick, and known to every TLS implementation. */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;
export const SIGNATURE_HASH = "SHA-256";

/** What pkijs signs and verifies with. */
export const ENGINE = new CryptoEngine({ name: "node", crypto: webcrypto });

/** A key pair as the library takes it. @throws Error where the PEM is no private key of the curve */
export async function readKeyPair(
  privateKeyPem: string,
): Promise<{ privateKey: webcrypto.CryptoKey; publicKey: webcrypto.CryptoKey }> {
  const key = createPrivateKey(privateKeyPem);
  const pkcs8 = key.export({ type: "pkcs8", format: "der" });
  const privateKey = await webcrypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, false, ["sign"]);
  return { privateKey, publicKey: await readPublicKey(exportPublicKey(createPublicKey(key))) };
}

/** @param spki DER. @throws Error where it is no public key of the curve */
export function readPublicKey(spki: Uint8Array): Promise<webcrypto.CryptoKey> {
  return webcrypto.subtle.importKey("spki", Uint8Array.from(spki), ALGORITHM, true, ["verify"]);
}

/** DER (SubjectPublicKeyInfo). */
export function exportPublicKey(key: KeyObject): Uint8Array {
  return key.export({ type: "spki", format: "der" });
}
