// Writes the JSON Schemas in `schemas/` from the schemas in the code.
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { nameSchemaFile, PUBLISHED_SCHEMAS, renderSchema } from "./schemas.ts";

const folder = fileURLToPath(new URL("../schemas", import.meta.url));
mkdirSync(folder, { recursive: true });
for (const file of readdirSync(folder)) rmSync(join(folder, file));
for (const [name, schema] of Object.entries(PUBLISHED_SCHEMAS)) {
  writeFileSync(join(folder, nameSchemaFile(name)), renderSchema(name, schema));
}
