import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Root of the package: two folders above this file, in `src/` and in `dist/` alike. */
export const PACKAGE_ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

export const PACKAGE_VERSION: string = readVersion();

function readVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  const version = typeof parsed === "object" && parsed !== null && "version" in parsed ? parsed.version : undefined;
  return typeof version === "string" ? version : "0.0.0";
}
