import { isIP } from "node:net";
import { NoodleError } from "../common/index.ts";

/** Whether only this machine reaches what listens there. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, "").toLowerCase();
  if (name === "localhost") return true;
  return isIP(name) === 4 ? name.startsWith("127.") : name === "::1";
}

export interface Listening {
  readonly host: string;
  /** Sets the host, as in `--host`. */
  readonly option: string;
  /** What listens, in words. */
  readonly what: string;
  /** Both ends are known, and nobody between them can read. */
  readonly isProtected: boolean;
  /** What would protect it, in words. */
  readonly cure: string;
  /** The user has said that the network is trusted. */
  readonly isTrusted: boolean;
}

/** The option that lets a cluster stand open. */
export const OPEN_OPTION = "--insecure-trusted-network";

/**
 * Beyond loopback nothing listens unprotected, unless the user takes it upon himself.
 *
 * @returns a warning where it does; null where all is well
 * @throws NoodleError `EXPOSURE_REFUSED`
 */
export function checkExposure({ host, option, what, isProtected, cure, isTrusted }: Listening): string | null {
  if (isProtected || isLoopback(host)) return null;
  if (isTrusted) return `${what} stands open on ${host}: whoever reaches this machine can use it (${OPEN_OPTION})`;
  const text = `${option} ${host} is beyond loopback, and ${what} would stand open: ${cure}`;
  throw new NoodleError("EXPOSURE_REFUSED", text, { details: { host, option } });
}
