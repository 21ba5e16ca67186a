// Writes the README's comparison with peers from the rows of `npm run bench -- serve`.
import { updateServeTable } from "./serve-table.ts";

updateServeTable(process.argv[2]);
