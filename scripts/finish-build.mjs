// `npx noodle` links the root package's entry, so it must be executable.
import { chmodSync } from "node:fs";

chmodSync(new URL("../dist/cli/main.js", import.meta.url), 0o755);
