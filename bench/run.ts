/**
 * Measures the figures that METHODOLOGY.md defines. Each is a comparison within one run.
 *
 *   npm run bench                     all
 *   npm run bench -- worker stages    some
 *   npm run bench -- --repetitions 9 --out rows.jsonl
 *   npm run bench -- recover --kills 100
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { benchCapture, benchStages, benchWorker } from "./engine.ts";
import { runHopBench } from "./hop.ts";
import { type BenchContext, type Comparison, describeMachine, rowWriter } from "./lib.ts";
import { benchLogs, benchObserve } from "./observe.ts";
import { benchProfile } from "./profile.ts";
import { benchMemory, benchPipeline, benchStart } from "./pipeline.ts";
import { benchLoop } from "./loop.ts";
import { benchCoordinatorKills } from "./recover/coordinator-kills.ts";
import { benchRecoverCost } from "./recover/cost.ts";
import { benchRecover, benchRecoverBits, benchRecoverTimes } from "./recover/recover.ts";
import { benchRepartition } from "./recover/repartition.ts";
import { benchSim } from "./sim.ts";
import { benchServeMixed } from "./serve/mixed.ts";
import { benchServe, benchServePipeline, benchServeReal, benchServeUndivided } from "./serve/serve.ts";
import { benchValidation, benchValidationShape } from "./validation/validation.ts";
import { benchServeSoak, benchServeStrict } from "./serve/soak.ts";

const BENCHES: Readonly<Record<string, (context: BenchContext) => Promise<void>>> = {
  worker: benchWorker,
  stages: benchStages,
  capture: benchCapture,
  hop: benchHop,
  pipeline: benchPipeline,
  memory: benchMemory,
  start: benchStart,
  observe: benchObserve,
  logs: benchLogs,
  profile: benchProfile,
  sim: benchSim,
  loop: benchLoop,
  validation: benchValidation,
  "validation-shape": benchValidationShape,
  serve: benchServe,
  "serve-mixed": benchServeMixed,
  "serve-soak": benchServeSoak,
  "serve-strict": benchServeStrict,
  recover: benchRecover,
};

/** Parts of a bench that takes long, for measuring one alone. */
const PARTS: typeof BENCHES = {
  "serve-pipeline": benchServePipeline,
  "serve-undivided": benchServeUndivided,
  "serve-real": benchServeReal,
  "recover-times": benchRecoverTimes,
  "recover-bits": benchRecoverBits,
  "recover-cost": benchRecoverCost,
  "recover-repartition": benchRepartition,
  "recover-coordinator": benchCoordinatorKills,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repetitions: { type: "string", default: "7" },
    kills: { type: "string", default: "20" },
    out: { type: "string", default: "bench/results/rows.jsonl" },
  },
});
const unknown = positionals.find((name) => !Object.hasOwn({ ...BENCHES, ...PARTS }, name));
if (unknown !== undefined) {
  console.error(`no bench "${unknown}"; there are: ${Object.keys({ ...BENCHES, ...PARTS }).join(", ")}`);
  process.exit(2);
}

const writeRow = rowWriter(values.out);
const comparisons: Comparison[] = [];
const context: BenchContext = {
  cacheFolder: fileURLToPath(new URL(".cache", import.meta.url)),
  repetitions: Number(values.repetitions),
  kills: Number(values.kills),
  record: (sample) => writeRow({ kind: "sample", ...sample }),
  conclude: (comparison) => {
    comparisons.push(comparison);
    writeRow({ kind: "comparison", ...comparison });
    console.log(formatComparison(comparison));
  },
  log: (line) => console.error(line),
};

console.error(JSON.stringify(describeMachine()));
for (const name of positionals.length === 0 ? Object.keys(BENCHES) : positionals) {
  console.error(`bench ${name}`);
  await (BENCHES[name] ?? PARTS[name])?.(context);
}
console.error(
  `${comparisons.filter(({ met }) => met).length} of ${comparisons.length} goals met; rows in ${values.out}`,
);

/** Figure 3: what a hop adds, 8 KiB of activations, in both stream directions and with several windows. */
async function benchHop(context: BenchContext): Promise<void> {
  const rows = await runHopBench({ onRow: (row) => context.log(JSON.stringify(row)) });
  for (const row of rows) writeRow({ kind: "hop", ...row });
  for (const row of rows.filter(({ payload_bytes }) => payload_bytes === 8192)) {
    for (const [name, value, limit] of [
      ["p50", row.one_way_ms_p50, 0.3],
      ["p99", row.one_way_ms_p99, 1],
    ] as const) {
      const subject = `${row.direction}, window ${row.window_bytes}`;
      context.conclude({
        bench: "hop",
        name: `one-way ${name} ms`,
        subject,
        baseline: `limit ${limit} ms`,
        ratio: value / limit,
        low: value,
        high: value,
        goal: "<= 1",
        met: value <= limit,
      });
    }
  }
}

function formatComparison({ bench, name, subject, baseline, ratio, low, high, goal, met }: Comparison): string {
  return `${met ? "met   " : "MISSED"} ${bench.padEnd(9)} ${name.padEnd(28)} ${subject} / ${baseline}: ${ratio.toFixed(3)} (${low.toFixed(3)} .. ${high.toFixed(3)}), goal ${goal}`;
}
