/**
 * Makes faults in clusters of real processes, one row of the matrix after the other, and writes docs/fault-matrix.md.
 *
 *   npx tsx scripts/fault-matrix.ts                        all rows
 *   npx tsx scripts/fault-matrix.ts --only 1,2 --json x    some; results go into the file, and those that it has stay
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { NoodleError } from "../src/common/index.ts";
import { makeRandom } from "../src/shaper/index.ts";
import { describeMachine } from "../bench/lib.ts";
import { FAULT_ROWS } from "../test/faults/rows.ts";
import { renderMatrix } from "../test/faults/render-matrix.ts";
import type { FaultRow, RowResult } from "../test/faults/types.ts";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const { values } = parseArgs({
  options: { only: { type: "string" }, json: { type: "string" }, seed: { type: "string", default: "1" } },
});

async function runRow(row: FaultRow): Promise<RowResult> {
  const { run, whyNot, ...words } = row;
  const absent = whyNot?.() ?? null;
  if (absent !== null) return { ...words, trials: [], absent, failure: null, tookMs: 0 };
  const startMs = performance.now();
  console.log(`row ${row.row}: ${row.fault}`);
  const trials: RowResult["trials"][number][] = [];
  let failure: string | null = null;
  try {
    const random = makeRandom(Number(values.seed), `row ${row.row}`);
    trials.push(
      ...(await run({ model: `${ROOT}models/storyteller-q8_0.gguf`, random, log: (line) => console.log(line) })),
    );
  } catch (thrown) {
    const { code, message } = NoodleError.from(thrown);
    failure = `${code}: ${message}`;
    console.log(`  FAILED ${thrown instanceof Error ? thrown.stack : failure}`);
  }
  const tookMs = performance.now() - startMs;
  console.log(`  ${trials.filter(({ isGood }) => isGood).length} of ${trials.length} good, ${Math.round(tookMs)} ms`);
  return { ...words, trials, absent, failure, tookMs };
}

const only = values.only?.split(",").map(Number);
const results = new Map<number, RowResult>();
if (values.json !== undefined && existsSync(values.json)) {
  for (const result of JSON.parse(readFileSync(values.json, "utf8")) as RowResult[]) results.set(result.row, result);
}
for (const row of FAULT_ROWS) {
  if (only !== undefined && !only.includes(row.row)) continue;
  results.set(row.row, await runRow(row));
  const sorted = [...results.values()].sort((a, b) => a.row - b.row);
  if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify(sorted, null, 1)}\n`);
  writeFileSync(`${ROOT}docs/fault-matrix.md`, renderMatrix(sorted, describeMachine()));
}
const isGood = [...results.values()].every(({ trials, failure }) => failure === null && trials.every((t) => t.isGood));
// What a failed row left open does not hold the run up.
process.exit(isGood ? 0 : 1);
