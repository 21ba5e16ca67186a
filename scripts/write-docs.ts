// Writes the documentation that is derived from code.
import { writeFileSync } from "node:fs";
import { renderCommandDocs } from "./command-docs.ts";

writeFileSync(new URL("../docs/commands.md", import.meta.url), await renderCommandDocs());
