import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";
import { HttpFault } from "./http-fault.ts";
import type { ApiLimits } from "./limits.ts";

const REQUEST_ID = /^[A-Za-z0-9._-]{1,64}$/;
const LOOPBACK_NAMES = ["localhost", "127.0.0.1", "[::1]"];

/** A client may name its request; anything else gets a name. */
export function chooseRequestId(request: IncomingMessage): string {
  const told = request.headers["x-request-id"];
  return typeof told === "string" && REQUEST_ID.test(told) ? told : `req_${randomBytes(12).toString("hex")}`;
}

/** @throws HttpFault headers_too_large */
export function checkHeaders(request: IncomingMessage, limits: ApiLimits): void {
  const count = request.rawHeaders.length / 2;
  if (count > limits.headers) {
    throw new HttpFault("headers_too_large", `the request has ${count} headers, the limit is ${limits.headers}`);
  }
}

/**
 * Against pages that make a name of theirs point here: what comes in must name an address, a loopback host, or a name
 * that is allowed. Over loopback an address is one of loopback.
 *
 * @throws HttpFault host_not_allowed
 */
export function checkHost(request: IncomingMessage, allowed: readonly string[]): void {
  const { host } = request.headers;
  if (host === undefined) return;
  const name = host.replace(/:\d+$/, "").toLowerCase();
  if (LOOPBACK_NAMES.includes(name) || name.endsWith(".localhost") || allowed.includes(name)) return;
  const isAddress = isIP(name.replace(/^\[|\]$/g, "")) !== 0;
  if (isAddress && !isLoopback(request.socket.localAddress)) return;
  throw new HttpFault("host_not_allowed", `the host ${JSON.stringify(name.slice(0, 100))} is not allowed here`);
}

function isLoopback(address: string | undefined): boolean {
  if (address === undefined || isIP(address) === 0) return false;
  return address === "::1" || address.startsWith("127.") || address.startsWith("::ffff:127.");
}

/** Keys are kept as hashes, so that a comparison takes as long for any of them. */
export class KeyRing {
  readonly #hashes: readonly Buffer[];
  readonly #readMore: () => readonly string[];
  /** Once keys were asked for, they are: when the last is taken back, nobody has one, and nobody gets in. */
  #isLocked = false;

  /** @param readMore SHA-256 of further keys, hex, as they are at this moment */
  constructor(keys: readonly string[], readMore: () => readonly string[] = () => []) {
    this.#hashes = keys.map(hash);
    this.#readMore = readMore;
  }

  /**
   * @param takesBasic the key may be the password of HTTP Basic, which is what a browser can ask its user for
   * @returns who the client is: a hash of its key; "" where no keys are asked for
   * @throws HttpFault invalid_api_key
   */
  identify(request: IncomingMessage, takesBasic = false): string {
    const all = [...this.#hashes, ...this.#readMore().map((hex) => Buffer.from(hex, "hex"))];
    this.#isLocked ||= all.length > 0;
    if (!this.#isLocked) return "";
    const given = hash(readKey(request, takesBasic));
    let found = false;
    for (const known of all) if (known.length === given.length && timingSafeEqual(known, given)) found = true;
    if (found) return given.toString("hex").slice(0, 32);
    throw new HttpFault("invalid_api_key", "a valid API key must be given: Authorization: Bearer KEY, or x-api-key", {
      "www-authenticate": takesBasic ? 'Basic realm="NoodleCore: the API key as password"' : "Bearer",
    });
  }
}

function readKey(request: IncomingMessage, takesBasic: boolean): string {
  const { authorization = "" } = request.headers;
  const bearer = /^Bearer\s+(\S+)\s*$/i.exec(authorization)?.[1];
  const other = request.headers["x-api-key"];
  const basic = takesBasic ? /^Basic\s+([\w+/=]+)\s*$/i.exec(authorization)?.[1] : undefined;
  const password =
    basic === undefined
      ? undefined
      : Buffer.from(basic, "base64")
          .toString("utf8")
          .replace(/^[^:]*:/, "");
  return bearer ?? password ?? (typeof other === "string" ? other : "");
}

function hash(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}
