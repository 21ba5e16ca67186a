import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { makeKey } from "./cluster-folder.ts";
import { type Credentials, readValidity } from "./credentials.ts";
import { makePrivateFolder, readPrivateFile, readShortFile, writePrivateFile } from "./files.ts";
import { loadCertificates } from "./load-certificates.ts";

/** A worker's key, which never leaves its machine, and its certificate. */
export class NodeFolder {
  readonly #path: string;

  /**
   * @param dataDirectory the worker's. A node of another id, or of another cluster, has files of its own.
   * @param authoritySha256 of the cluster, hex
   */
  constructor(dataDirectory: string, nodeId: string, authoritySha256: string) {
    this.#path = join(dataDirectory, "identity", `${nodeId}-${authoritySha256.slice(0, 16)}`);
  }

  /**
   * @returns undefined where there is no certificate, or it has ended
   * @throws NoodleError `SECURITY_FILE_INVALID`
   */
  read(nowMs: number): Credentials | undefined {
    let certificatePem: string;
    try {
      certificatePem = readShortFile(join(this.#path, "node.pem"));
    } catch (error) {
      if (error instanceof NoodleError && error.code === "FILE_NOT_FOUND") return undefined;
      throw error;
    }
    if (readValidity(certificatePem).untilMs <= nowMs) return undefined;
    return {
      authorityPem: readShortFile(join(this.#path, "ca.pem")),
      certificatePem,
      privateKeyPem: readPrivateFile(join(this.#path, "node-key.pem")),
    };
  }

  /** A certificate request (DER) for this node's key, which is made when there is none. */
  async makeRequest(): Promise<{ readonly privateKeyPem: string; readonly request: Uint8Array }> {
    const privateKeyPem = this.#openKey();
    const { makeRequest } = await loadCertificates();
    return { privateKeyPem, request: await makeRequest(privateKeyPem) };
  }

  /** Keeps what came for the key. */
  write({ authorityPem, certificatePem }: Credentials): void {
    writePrivateFile(join(this.#path, "ca.pem"), authorityPem);
    writePrivateFile(join(this.#path, "node.pem"), certificatePem);
  }

  #openKey(): string {
    const path = join(this.#path, "node-key.pem");
    try {
      return readPrivateFile(path);
    } catch (error) {
      if (!(error instanceof NoodleError) || error.code !== "FILE_NOT_FOUND") throw error;
    }
    makePrivateFolder(this.#path);
    const { privateKeyPem } = makeKey();
    writePrivateFile(path, privateKeyPem);
    return privateKeyPem;
  }
}
