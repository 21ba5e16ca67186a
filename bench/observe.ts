import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { combineObservers } from "../src/cluster/coordinator/index.ts";
import { GREEDY, openStage, type Stage } from "../src/engine/index.ts";
import { LogObserver, LogWriter } from "../src/logs/index.ts";
import { CoordinatorMetrics, LiveStats } from "../src/metrics/index.ts";
import type { ClusterObserver, HookLevel, StepRecord } from "../src/observe/index.ts";
import { TraceCollector } from "../src/trace/index.ts";
import { BenchCluster, NOODLE_ENTRY } from "./cluster.ts";
import { median } from "../src/common/index.ts";
import { type BenchContext, compare, type Sample } from "./lib.ts";
import { makePrompt, prepareModel } from "./models.ts";
import { writeLongRun } from "./long-run.ts";

const bench = "observe";
const CONTEXT_TOKENS = 512;
const TOKENS = 100;
const SAMPLE_EVERY = 50;
/** Of the time without hooks. A look at every node is for profiling: its cost is stated, the limit is a sanity check. */
const LEVEL_LIMITS = { idle: 1.01, sampled: 1.01, layer: 1.04, role: 1.12, node: 3 };
const MIB = 2 ** 20;

/** What looking costs, inside the engine and in a whole cluster. */
export async function benchObserve(context: BenchContext): Promise<void> {
  const model = await prepareModel(context);
  await benchLevels(context, model);
  await benchCluster(context, model);
}

/** What is written down, and read again. */
export async function benchLogs(context: BenchContext): Promise<void> {
  await benchLogRate(context);
  await benchLongReport(context);
}

/** One engine with no callback beside one that may be looked into, token by token in turns at every level. */
async function benchLevels(context: BenchContext, model: string): Promise<void> {
  const config = { stageFile: model, contextTokens: CONTEXT_TOKENS, parallel: 1, threads: cpus().length };
  const bare = await openStage(config);
  const hookable = await openStage({ ...config, hookable: true });
  const subjects: readonly [string, Stage, (token: number) => HookLevel | null][] = [
    ["off", bare, () => null],
    ["idle", hookable, () => null],
    ["sampled", hookable, (token) => (token % SAMPLE_EVERY === 0 ? "layer" : null)],
    ["layer", hookable, () => "layer"],
    ["role", hookable, () => "role"],
    ["node", hookable, () => "node"],
  ];
  const samples: Sample[] = [];
  try {
    for (let repetition = -1; repetition < context.repetitions; repetition++) {
      const times = new Map<string, number[]>(subjects.map(([name]) => [name, []]));
      for (const stage of [bare, hookable]) {
        stage.openSlot(0, GREEDY);
        forward(stage, 0, makePrompt(32, repetition));
      }
      for (let token = 0; token < TOKENS; token++) {
        // Another one begins each round: who comes first finds colder caches.
        for (let turn = 0; turn < subjects.length; turn++) {
          const [name, stage, choose] = subjects[(turn + token) % subjects.length] ?? must();
          const level = choose(token);
          stage.truncate(0, 32 + token);
          const startMs = performance.now();
          forward(stage, 32 + token, Int32Array.of(400 + token), level);
          times.get(name)?.push(performance.now() - startMs);
        }
        for (const stage of [bare, hookable]) {
          stage.truncate(0, 32 + token);
          forward(stage, 32 + token, Int32Array.of(400 + token));
        }
      }
      if (repetition < 0) continue;
      for (const [subject, values] of times) {
        record(context, samples, subject, "time-per-token", "ms", costOf(subject, values), repetition);
      }
    }
    for (const [subject, most] of Object.entries(LEVEL_LIMITS)) {
      compare(context, samples, { bench, metric: "time-per-token", subject, baseline: "off" }, { most });
    }
  } finally {
    bare.close();
    hookable.close();
  }
}

/** A cluster that nobody watches beside one with logs, metrics, traces, the live view and sampled hooks. */
async function benchCluster(context: BenchContext, model: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "noodle-bench-"));
  const writer = await LogWriter.create({
    directory: folder,
    producerId: "bench",
    runId: "bench",
    facts: { noodlecoreVersion: "bench", engineBuild: null, engineVariant: null },
  });
  const metrics = new CoordinatorMetrics({ build: { noodlecoreVersion: "bench", engineBuild: "" }, model: "bench" });
  const { observer, counted } = countTime(
    combineObservers(new TraceCollector(), metrics, new LiveStats(), new LogObserver(writer)),
  );
  const options = { workers: 1, threads: cpus().length, contextTokens: CONTEXT_TOKENS, parallel: 1 };
  const plain = await BenchCluster.start(model, { ...options, hooks: false });
  const watched = await BenchCluster.start(model, { ...options, observer, sampleEvery: SAMPLE_EVERY });
  const samples: Sample[] = [];
  let stepNs = 0;
  try {
    for (let repetition = -1; repetition < context.repetitions; repetition++) {
      for (const [subject, cluster] of [
        ["off", plain],
        ["watched", watched],
      ] as const) {
        const startNs = process.hrtime.bigint();
        const done = await cluster.generate(makePrompt(64, repetition), TOKENS);
        if (subject === "watched" && repetition >= 0) stepNs += Number(process.hrtime.bigint() - startNs);
        if (repetition < 0) Object.assign(counted, { spentNs: 0, steps: 0 });
        else record(context, samples, subject, "decode", "tokens_per_sec", done.decodeTokensPerSec, repetition);
      }
    }
    compare(context, samples, { bench, metric: "decode", subject: "watched", baseline: "off" }, { least: 0.99 });
    conclude(
      context,
      "counted share",
      "observers' ns / all ns",
      counted.spentNs / stepNs,
      0.005,
      `${counted.steps} steps`,
    );
    const [off] = plain.workerRssBytes();
    const [on] = watched.workerRssBytes();
    conclude(context, "added memory", "worker", ((on ?? 0) - (off ?? 0)) / MIB, 30, "MiB");
  } finally {
    await plain.close();
    await watched.close();
    await writer.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** Ten thousand step rows a second: what that does to the process's event loop, and what is lost. */
async function benchLogRate(context: BenchContext): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "noodle-bench-"));
  const rssBefore = process.memoryUsage.rss();
  const writer = await LogWriter.create({
    directory: folder,
    producerId: "bench",
    runId: "bench",
    facts: { noodlecoreVersion: "bench", engineBuild: null, engineVariant: null },
  });
  const observer = new LogObserver(writer);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const cpuBefore = process.cpuUsage();
  delay.enable();
  const startMs = performance.now();
  const seconds = 5;
  let rows = 0;
  while (performance.now() - startMs < seconds * 1000) {
    const due = Math.floor((performance.now() - startMs) * 10);
    for (; rows < due; rows++) observer.onStep(makeStep(rows));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  delay.disable();
  const cpu = process.cpuUsage(cpuBefore);
  const stats = await writer.close();
  const cpuShare = (cpu.user + cpu.system) / 1e6 / seconds;
  context.log(
    `log rate: ${(rows / seconds).toFixed(0)} rows/s, ${cpuShare.toFixed(3)} of a core, event loop p99 ${(delay.percentile(99) / 1e6).toFixed(2)} ms, ${((process.memoryUsage.rss() - rssBefore) / MIB).toFixed(0)} MiB more`,
  );
  conclude(context, "rows lost", "of 10,000 rows/s", stats.rowsLost, 0, `${stats.rowsWritten} written`);
  await rm(folder, { recursive: true, force: true });
}

/** Four hours of logs, a gigabyte, as a page: time and largest memory of the command. */
async function benchLongReport(context: BenchContext): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "noodle-bench-"));
  try {
    const bytes = await writeLongRun(join(folder, "logs"), 2 ** 30);
    context.log(`long run: ${(bytes / MIB).toFixed(0)} MiB of logs`);
    const startMs = performance.now();
    const child = spawn(process.execPath, [NOODLE_ENTRY, "report", folder, "-o", join(folder, "report.html")], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    let peakKib = 0;
    const watch = setInterval(() => {
      void readFile(`/proc/${child.pid}/status`, "utf8").then(
        (text) => (peakKib = Math.max(peakKib, Number(/VmHWM:\s+(\d+)/.exec(text)?.[1] ?? 0))),
        () => undefined,
      );
    }, 200);
    const [code] = (await once(child, "exit")) as [number | null];
    clearInterval(watch);
    if (code !== 0) throw new Error(`noodle report ended with ${code}`);
    conclude(context, "report of a gigabyte", "seconds", (performance.now() - startMs) / 1000, 60, "s");
    conclude(context, "report of a gigabyte", "peak MiB", peakKib / 1024, 1024, "MiB");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

interface CountedTime {
  spentNs: number;
  steps: number;
}

const METHODS = ["onRequest", "onStep", "onLayer", "onLink", "onNode", "onPlan", "onEvent"] as const;

/** Times the calls of an observer. */
function countTime(inner: ClusterObserver): { readonly observer: ClusterObserver; readonly counted: CountedTime } {
  const counted: CountedTime = { spentNs: 0, steps: 0 };
  const methods = METHODS.map((name) => {
    const timed = (value: never): void => {
      const startNs = process.hrtime.bigint();
      inner[name]?.(value);
      counted.spentNs += Number(process.hrtime.bigint() - startNs);
      if (name === "onStep") counted.steps += 1;
    };
    return [name, timed];
  });
  return { observer: Object.fromEntries(methods) as ClusterObserver, counted };
}

function forward(stage: Stage, position: number, tokens: Int32Array, level: HookLevel | null = null): void {
  const runs = [{ slot: 0, position, rows: tokens.length, output: "last" as const }];
  stage.forward({ runs, tokens, hidden: null }, level === null ? {} : { observe: level });
}

function makeStep(index: number): StepRecord {
  const stage = (number: number) => ({
    stage: number,
    nodeId: `n-${number}`,
    queueNs: 20_000 + index,
    computeNs: 8_000_000 + index,
    serializeNs: 30_000,
    hopNs: 200_000,
    bytesIn: 8192,
  });
  return {
    stepId: index,
    epoch: 1,
    requestIds: ["6f3c1b7a9d5e4f208c1b7a9d5e4f2081"],
    sampledRequestIds: ["6f3c1b7a9d5e4f208c1b7a9d5e4f2081"],
    phase: "decode",
    rows: 1,
    contextTokens: index % 4096,
    sentMonoNs: index * 1000,
    receivedMonoNs: index * 1000 + 500,
    stages: [stage(0), stage(1), stage(2)],
    level: "step",
  };
}

function record(
  context: BenchContext,
  samples: Sample[],
  subject: string,
  metric: string,
  unit: string,
  value: number,
  repetition: number,
): void {
  const sample = { bench, subject, metric, unit, value, repetition };
  samples.push(sample);
  context.record(sample);
}

function conclude(
  context: BenchContext,
  name: string,
  subject: string,
  value: number,
  limit: number,
  unit: string,
): void {
  context.conclude({
    bench,
    name,
    subject: `${subject} = ${value.toFixed(4)} (${unit})`,
    baseline: `limit ${limit}`,
    ratio: limit === 0 ? value : value / limit,
    low: value,
    high: value,
    goal: limit === 0 ? "= 0" : "<= 1",
    met: value <= limit,
  });
}

/**
 * Median time of a token. With one token in fifty looked into, the median alone would never see it: its excess counts
 * with its share.
 */
function costOf(subject: string, values: readonly number[]): number {
  if (subject !== "sampled") return median(values);
  const isLookedInto = (_: number, token: number): boolean => token % SAMPLE_EVERY === 0;
  const others = median(values.filter((value, token) => !isLookedInto(value, token)));
  return others + (median(values.filter(isLookedInto)) - others) / SAMPLE_EVERY;
}

function must(): never {
  throw new Error("no subject");
}
