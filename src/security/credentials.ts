import { X509Certificate } from "node:crypto";
import { NoodleError } from "../common/index.ts";

/** What a member shows and whom it believes; all PEM. */
export interface Credentials {
  readonly authorityPem: string;
  readonly certificatePem: string;
  readonly privateKeyPem: string;
}

/** When a certificate begins and ends, in Unix time. @throws NoodleError `SECURITY_FILE_INVALID` */
export function readValidity(certificatePem: string): { readonly fromMs: number; readonly untilMs: number } {
  try {
    const { validFrom, validTo } = new X509Certificate(certificatePem);
    return { fromMs: Date.parse(validFrom), untilMs: Date.parse(validTo) };
  } catch (cause) {
    throw new NoodleError("SECURITY_FILE_INVALID", "a certificate cannot be read", { cause });
  }
}

/** Whether half of its time is over: then it is renewed. */
export function isDueForRenewal(certificatePem: string, nowMs: number): boolean {
  const { fromMs, untilMs } = readValidity(certificatePem);
  return nowMs > (fromMs + untilMs) / 2;
}
