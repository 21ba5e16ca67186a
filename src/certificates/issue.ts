import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  type webcrypto,
  X509Certificate,
} from "node:crypto";
import { isIP } from "node:net";
import { BitString, fromBER, Integer, OctetString, Utf8String } from "asn1js";
import {
  AttributeTypeAndValue,
  AuthorityKeyIdentifier,
  BasicConstraints,
  Certificate,
  Extension,
  ExtKeyUsage,
  GeneralName,
  GeneralNames,
  type RelativeDistinguishedNames,
} from "pkijs";
import { ENGINE, exportPublicKey, readKeyPair, readPublicKey, SIGNATURE_HASH } from "./keys.ts";

/** Who signs: a certificate and its key, both PEM. */
export interface Authority {
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** What a certificate says. */
export interface CertificateSubject {
  readonly commonName: string;
  /** @default none */
  readonly uris?: readonly string[];
  /** Host names and IP addresses. @default none */
  readonly hosts?: readonly string[];
}

export interface Validity {
  /** Unix time. */
  readonly fromMs: number;
  readonly untilMs: number;
}

const OID = {
  commonName: "2.5.4.3",
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extKeyUsage: "2.5.29.37",
  serverAuth: "1.3.6.1.5.5.7.3.1",
  clientAuth: "1.3.6.1.5.5.7.3.2",
} as const;
/** First byte of the bit string and its unused bits. */
const SIGN_CERTIFICATES = { bits: 0b0000_0110, unused: 1 };
const SIGN_HANDSHAKES = { bits: 0b1000_0000, unused: 7 };
const NAME_URI = 6;
const NAME_DNS = 2;
const NAME_IP = 7;
const SERIAL_BYTES = 16;

/** A new authority: it signs certificates of members, and none of other authorities. */
export async function makeAuthority(commonName: string, validity: Validity): Promise<Authority> {
  const { privateKey: key } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const privateKeyPem = key.export({ type: "pkcs8", format: "pem" }).toString();
  const { privateKey, publicKey } = await readKeyPair(privateKeyPem);
  const certificate = await draft(publicKey, commonName, validity);
  setName(certificate.issuer, commonName);
  const keyId = hashKey(exportPublicKey(createPublicKey(key)));
  certificate.extensions = [
    extend(OID.basicConstraints, true, new BasicConstraints({ cA: true, pathLenConstraint: 0 }).toSchema().toBER()),
    extendUsage(SIGN_CERTIFICATES),
    extend(OID.subjectKeyIdentifier, false, new OctetString({ valueHex: keyId }).toBER()),
  ];
  await certificate.sign(privateKey, SIGNATURE_HASH, ENGINE);
  return { certificatePem: toPem(certificate), privateKeyPem };
}

/**
 * A certificate for a server that is a client too.
 *
 * @param publicKey SubjectPublicKeyInfo, DER
 * @returns PEM, without its issuer's
 */
export async function issueCertificate(
  authority: Authority,
  publicKey: Uint8Array,
  subject: CertificateSubject,
  validity: Validity,
): Promise<string> {
  const { privateKey } = await readKeyPair(authority.privateKeyPem);
  const issuer = readCertificate(authority.certificatePem);
  const certificate = await draft(await readPublicKey(publicKey), subject.commonName, validity);
  certificate.issuer = issuer.subject;
  const issuerKeyId = hashKey(exportPublicKey(createPublicKey(createPrivateKey(authority.privateKeyPem))));
  const usages = new ExtKeyUsage({ keyPurposes: [OID.serverAuth, OID.clientAuth] });
  const keyIdentifier = new OctetString({ valueHex: issuerKeyId });
  certificate.extensions = [
    extend(OID.basicConstraints, true, new BasicConstraints({ cA: false }).toSchema().toBER()),
    extendUsage(SIGN_HANDSHAKES),
    extend(OID.extKeyUsage, false, usages.toSchema().toBER()),
    extend(OID.subjectKeyIdentifier, false, new OctetString({ valueHex: hashKey(publicKey) }).toBER()),
    extend(OID.authorityKeyIdentifier, false, new AuthorityKeyIdentifier({ keyIdentifier }).toSchema().toBER()),
    extend(OID.subjectAltName, false, new GeneralNames({ names: listNames(subject) }).toSchema().toBER()),
  ];
  await certificate.sign(privateKey, SIGNATURE_HASH, ENGINE);
  return toPem(certificate);
}

async function draft(
  publicKey: webcrypto.CryptoKey,
  commonName: string,
  { fromMs, untilMs }: Validity,
): Promise<Certificate> {
  const certificate = new Certificate();
  certificate.version = 2;
  const serial = randomBytes(SERIAL_BYTES);
  // Positive, and of one length.
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  certificate.serialNumber = new Integer({ valueHex: Uint8Array.from(serial).buffer });
  certificate.notBefore.value = new Date(fromMs);
  certificate.notAfter.value = new Date(untilMs);
  setName(certificate.subject, commonName);
  await certificate.subjectPublicKeyInfo.importKey(publicKey, ENGINE);
  return certificate;
}

function listNames({ uris = [], hosts = [] }: CertificateSubject): GeneralName[] {
  return [
    ...uris.map((value) => new GeneralName({ type: NAME_URI, value })),
    ...hosts.map((host) =>
      isIP(host) === 0
        ? new GeneralName({ type: NAME_DNS, value: host })
        : new GeneralName({ type: NAME_IP, value: new OctetString({ valueHex: writeAddress(host) }) }),
    ),
  ];
}

/** 4 or 16 bytes. */
function writeAddress(address: string): ArrayBuffer {
  if (isIP(address) === 4) return Uint8Array.from(address.split("."), Number).buffer;
  const [head = "", tail] = new URL(`http://[${address}]/`).hostname.slice(1, -1).split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  const middle = Array.from({ length: 8 - before.length - after.length }, () => "0");
  const groups = [...before, ...middle, ...after].map((group) => Number.parseInt(group, 16));
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff])).buffer;
}

function setName(name: RelativeDistinguishedNames, commonName: string): void {
  const value = new Utf8String({ value: commonName });
  name.typesAndValues.push(new AttributeTypeAndValue({ type: OID.commonName, value }));
}

function extend(extnID: string, critical: boolean, extnValue: ArrayBuffer): Extension {
  return new Extension({ extnID, critical, extnValue });
}

function extendUsage({ bits, unused }: { readonly bits: number; readonly unused: number }): Extension {
  const value = new BitString({ valueHex: Uint8Array.of(bits).buffer, unusedBits: unused });
  return extend(OID.keyUsage, true, value.toBER());
}

function hashKey(spki: Uint8Array): ArrayBuffer {
  return Uint8Array.from(createHash("sha1").update(spki).digest()).buffer;
}

function readCertificate(pem: string): Certificate {
  return new Certificate({ schema: fromBER(Uint8Array.from(new X509Certificate(pem).raw).buffer).result });
}

function toPem(certificate: Certificate): string {
  return new X509Certificate(Buffer.from(certificate.toSchema(true).toBER(false))).toString();
}
