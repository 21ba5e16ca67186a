// Builds dist/ after `npm ci`. Under `npm ci --omit=dev` no compiler is there: then an existing dist/ (a packed
// release) is used as it is, and only its absence is an error.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
let compiler;
try {
  compiler = require.resolve("typescript/bin/tsc");
} catch {
  compiler = undefined;
}
if (compiler === undefined) {
  if (existsSync(new URL("../dist/cli/main.js", import.meta.url))) process.exit(0);
  console.error("prepare: dist/ is missing and typescript is not installed; run `npm ci` without --omit=dev");
  process.exit(1);
}
const steps = [[compiler, "-p", "tsconfig.build.json"], ["scripts/finish-build.mjs"]];
for (const step of steps) {
  const run = spawnSync(process.execPath, step, { stdio: "inherit", cwd: new URL("..", import.meta.url) });
  if (run.status !== 0) process.exit(run.status ?? 1);
}
