import { fileURLToPath } from "node:url";

/**
 * Path of a compiled module that a process or thread is started from. Node runs no TypeScript, so a caller that runs
 * as TypeScript itself (under a test runner) gets the file of the build.
 *
 * @param specifier relative to the caller and without an ending: `./host-main`
 */
export function resolveEntry(importMetaUrl: string, specifier: string): string {
  const caller = importMetaUrl.endsWith(".ts")
    ? importMetaUrl.replace(/\/src\/(?!.*\/src\/)/, "/dist/")
    : importMetaUrl;
  return fileURLToPath(new URL(`${specifier}.js`, caller));
}
