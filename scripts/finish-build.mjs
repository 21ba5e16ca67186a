// The pages are plain script and style: the compiler leaves them where they are.
import { chmodSync, cpSync } from "node:fs";

for (const folder of ["report/page", "api/page"]) {
  cpSync(new URL(`../src/${folder}`, import.meta.url), new URL(`../dist/${folder}`, import.meta.url), {
    recursive: true,
    filter: (source) => !source.endsWith(".ts"),
  });
}
// `npx noodle` links the root package's entry, so it must be executable.
chmodSync(new URL("../dist/cli/main.js", import.meta.url), 0o755);
