import { fromBER } from "asn1js";
import { CertificationRequest } from "pkijs";
import { NoodleError } from "../common/index.ts";
import { ENGINE, readKeyPair, readPublicKey, SIGNATURE_HASH } from "./keys.ts";

/** A request of one key and nothing else has about 200 bytes. */
const MAX_REQUEST_BYTES = 4096;

/**
 * A certificate request (PKCS #10, DER) for the key: it proves that whoever asks has it. What the certificate says is
 * its issuer's decision, so the request names nobody.
 */
export async function makeRequest(privateKeyPem: string): Promise<Uint8Array> {
  const { privateKey, publicKey } = await readKeyPair(privateKeyPem);
  const request = new CertificationRequest();
  await request.subjectPublicKeyInfo.importKey(publicKey, ENGINE);
  await request.sign(privateKey, SIGNATURE_HASH, ENGINE);
  return new Uint8Array(request.toSchema().toBER(false));
}

/**
 * The key that a request is for (SubjectPublicKeyInfo, DER), once the request's signature was checked with it.
 *
 * @throws NoodleError `REQUEST_INVALID`
 */
export async function readRequest(der: Uint8Array): Promise<Uint8Array> {
  if (der.length > MAX_REQUEST_BYTES) {
    throw new NoodleError("REQUEST_INVALID", `a request of ${der.length} bytes, the limit is ${MAX_REQUEST_BYTES}`);
  }
  try {
    const parsed = fromBER(Uint8Array.from(der).buffer);
    if (parsed.offset !== der.length) throw new NoodleError("REQUEST_INVALID", "the request is no DER");
    const request = new CertificationRequest({ schema: parsed.result });
    const spki = new Uint8Array(request.subjectPublicKeyInfo.toSchema().toBER(false));
    // Only keys of the curve that all others have.
    await readPublicKey(spki);
    if (await request.verify(ENGINE)) return spki;
  } catch (cause) {
    throw new NoodleError("REQUEST_INVALID", "the certificate request cannot be read", { cause });
  }
  throw new NoodleError("REQUEST_INVALID", "the certificate request is not signed by its key");
}
