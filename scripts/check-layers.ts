// Checks the arrows between the folders of src/. A gate that can pass on nothing is no gate: no modules read = failure.
import { fileURLToPath } from "node:url";
import { checkLayers } from "./layers.ts";

const report = await checkLayers(fileURLToPath(new URL("..", import.meta.url)));
for (const violation of report.violations) console.error(violation);
if (report.modules === 0) console.error("no modules were read: the check itself is broken");
console.log(`${report.modules} modules, ${report.violations.length} violations`);
process.exit(report.violations.length === 0 && report.modules > 0 ? 0 : 1);
