import type * as Certificates from "../certificates/index.ts";

export const DAY_MS = 24 * 3600_000;

/** What makes certificates is large, and most processes never make one. */
export function loadCertificates(): Promise<typeof Certificates> {
  return import("../certificates/index.ts");
}
