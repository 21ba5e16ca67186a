import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { type Credentials, isDueForRenewal } from "./credentials.ts";
import { makePrivateFolder, readPrivateFile, readShortFile, writePrivateFile } from "./files.ts";
import { type PeerIdentity, writeIdentity } from "./identity.ts";
import { DAY_MS, loadCertificates } from "./load-certificates.ts";

const AUTHORITY_DAYS = 3650;
const MEMBER_DAYS = 365;
/** Clocks of two machines differ. */
const CLOCK_SLACK_MS = 5 * 60_000;
const FILES = { authority: "ca", coordinator: "coordinator", operator: "operator" } as const;

/** A cluster's authority, and the identities that it was made with. */
export class ClusterFolder {
  readonly path: string;
  readonly authorityPem: string;

  /**
   * Makes an authority, the coordinator's identity and an operator's.
   *
   * @throws NoodleError `USAGE` where there is an authority: members would not know another
   */
  static async init(path: string, nowMs: number): Promise<ClusterFolder> {
    if (existsSync(join(path, `${FILES.authority}-key.pem`))) {
      throw new NoodleError("USAGE", `${path} holds an authority already; choose another folder`);
    }
    makePrivateFolder(path);
    const { makeAuthority } = await loadCertificates();
    const untilMs = nowMs + AUTHORITY_DAYS * DAY_MS;
    const { certificatePem, privateKeyPem } = await makeAuthority("NoodleCore cluster", {
      fromMs: nowMs - CLOCK_SLACK_MS,
      untilMs,
    });
    writePrivateFile(join(path, `${FILES.authority}.pem`), certificatePem);
    writePrivateFile(join(path, `${FILES.authority}-key.pem`), privateKeyPem);
    const folder = new ClusterFolder(path);
    await folder.#makeMember("coordinator", nowMs);
    await folder.#makeMember("operator", nowMs);
    return folder;
  }

  /** @throws NoodleError `FILE_NOT_FOUND`, `SECURITY_FILE_INVALID` */
  constructor(path: string) {
    this.path = path;
    this.authorityPem = readShortFile(join(path, `${FILES.authority}.pem`));
  }

  /** The coordinator's, made anew when half of its time is over. */
  async openCoordinator(nowMs: number): Promise<Credentials> {
    const credentials = this.#readMember("coordinator");
    return isDueForRenewal(credentials.certificatePem, nowMs)
      ? await this.#makeMember("coordinator", nowMs)
      : credentials;
  }

  /** For whoever asks the coordinator. */
  openOperator(): Credentials {
    return this.#readMember("operator");
  }

  /**
   * A certificate for the HTTP API of this process, under these names.
   *
   * @param hosts names and addresses
   */
  async makeServer(hosts: readonly string[], nowMs: number): Promise<Credentials> {
    const { privateKeyPem, publicKey } = makeKey();
    const certificatePem = await this.issue(publicKey, { commonName: hosts[0] ?? "noodle", hosts }, nowMs, MEMBER_DAYS);
    return { authorityPem: this.authorityPem, certificatePem, privateKeyPem };
  }

  /** @param publicKey SubjectPublicKeyInfo, DER. @returns PEM */
  async issue(
    publicKey: Uint8Array,
    subject: { readonly commonName: string; readonly uris?: readonly string[]; readonly hosts?: readonly string[] },
    nowMs: number,
    days: number,
  ): Promise<string> {
    const { issueCertificate } = await loadCertificates();
    const privateKeyPem = readPrivateFile(join(this.path, `${FILES.authority}-key.pem`));
    const authority = { certificatePem: this.authorityPem, privateKeyPem };
    const validity = { fromMs: nowMs - CLOCK_SLACK_MS, untilMs: nowMs + days * DAY_MS };
    return issueCertificate(authority, publicKey, subject, validity);
  }

  async #makeMember(role: "coordinator" | "operator", nowMs: number): Promise<Credentials> {
    const { privateKeyPem, publicKey } = makeKey();
    const identity: PeerIdentity = { role };
    const subject = { commonName: `NoodleCore ${role}`, uris: [writeIdentity(identity)] };
    const certificatePem = await this.issue(publicKey, subject, nowMs, MEMBER_DAYS);
    writePrivateFile(join(this.path, `${FILES[role]}-key.pem`), privateKeyPem);
    writePrivateFile(join(this.path, `${FILES[role]}.pem`), certificatePem);
    return { authorityPem: this.authorityPem, certificatePem, privateKeyPem };
  }

  #readMember(role: "coordinator" | "operator"): Credentials {
    return {
      authorityPem: this.authorityPem,
      certificatePem: readShortFile(join(this.path, `${FILES[role]}.pem`)),
      privateKeyPem: readPrivateFile(join(this.path, `${FILES[role]}-key.pem`)),
    };
  }
}

/** A private key (PKCS #8, PEM) and its public one (SubjectPublicKeyInfo, DER). */
export function makeKey(): { readonly privateKeyPem: string; readonly publicKey: Uint8Array } {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return {
    privateKeyPem: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    publicKey: createPublicKey(privateKey).export({ type: "spki", format: "der" }),
  };
}
