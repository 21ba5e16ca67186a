// The page of a report is plain script and style: the compiler leaves it where it is.
import { chmodSync, cpSync } from "node:fs";

cpSync(new URL("../src/report/page", import.meta.url), new URL("../dist/report/page", import.meta.url), {
  recursive: true,
});
// `npx noodle` links the root package's entry, so it must be executable.
chmodSync(new URL("../dist/cli/main.js", import.meta.url), 0o755);
