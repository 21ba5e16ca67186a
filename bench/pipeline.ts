import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStage } from "../src/engine/index.ts";
import { BenchCluster } from "./cluster.ts";
import { type BenchContext, compare, type Sample } from "./lib.ts";
import { makePrompt, prepareModel } from "./models.ts";

const MIB = 1024 * 1024;

/** Figure 4: two workers with a thread each beside one worker with a thread, one stream. */
export async function benchPipeline(context: BenchContext): Promise<void> {
  const bench = "pipeline";
  const model = await prepareModel(context);
  const options = { threads: 1, contextTokens: 1024, parallel: 1 };
  const one = await BenchCluster.start(model, { workers: 1, ...options });
  const two = await BenchCluster.start(model, { workers: 2, ...options });
  const samples: Sample[] = [];
  try {
    for (let repetition = -1; repetition < context.repetitions; repetition++) {
      for (const [subject, cluster] of [
        ["one-worker", one],
        ["two-workers", two],
      ] as const) {
        const done = await cluster.generate(makePrompt(64, repetition), 40);
        if (repetition < 0) continue;
        const sample = {
          bench,
          subject,
          metric: "decode",
          unit: "tokens_per_sec",
          value: done.decodeTokensPerSec,
          repetition,
        };
        samples.push(sample);
        context.record(sample);
      }
    }
    compare(
      context,
      samples,
      { bench, metric: "decode", subject: "two-workers", baseline: "one-worker" },
      { least: 0.95 },
    );
  } finally {
    await one.close();
    await two.close();
  }
}

/** Figure 5: resident memory of the coordinator's process and of each worker's two, beside what a stage accounts for. */
export async function benchMemory(context: BenchContext): Promise<void> {
  const bench = "memory";
  for (const like of ["llama-1b", "qwen3-0.6b"]) {
    const model = await prepareModel(context, like);
    const cluster = await BenchCluster.start(model, { workers: 2, threads: 1, contextTokens: 1024, parallel: 4 });
    try {
      await cluster.generate(makePrompt(128, 0), 8);
      const status = cluster.cluster.coordinator.status();
      const coordinatorMib = residentBytes(process.pid) / MIB;
      context.record({
        bench,
        subject: `coordinator of ${like}`,
        metric: "rss",
        unit: "mib",
        value: coordinatorMib,
        repetition: 0,
      });
      context.conclude({
        bench,
        name: "rss_mib",
        subject: "coordinator (this process)",
        baseline: "limit 250 MiB",
        ratio: coordinatorMib / 250,
        low: coordinatorMib,
        high: coordinatorMib,
        goal: "<= 1",
        met: coordinatorMib <= 250,
      });
      for (const stage of status.stages) {
        const node = status.nodes.find(({ id }) => id === stage.node);
        const accounted = stage.weights_bytes + stage.kv_bytes + stage.compute_bytes;
        const rssMib = (node?.rss_bytes ?? 0) / MIB;
        const limitMib = accounted / MIB + 250;
        context.record({
          bench,
          subject: `${like} ${stage.units}`,
          metric: "rss",
          unit: "mib",
          value: rssMib,
          repetition: 0,
        });
        context.conclude({
          bench,
          name: "rss_mib",
          subject: `worker ${like} ${stage.units}`,
          baseline: `stage + KV + buffers + 250 = ${limitMib.toFixed(0)} MiB`,
          ratio: rssMib / limitMib,
          low: rssMib,
          high: rssMib,
          goal: "<= 1",
          met: rssMib <= limitMib,
        });
      }
    } finally {
      await cluster.close();
    }
  }
}

/** Figure 6: `noodle up` with cached stages until ready, beside the engine's own time to load the undivided model. */
export async function benchStart(context: BenchContext): Promise<void> {
  const bench = "start";
  const model = await prepareModel(context);
  const workers = 2;
  const dataDir = await mkdtemp(join(tmpdir(), "noodle-bench-"));
  const samples: Sample[] = [];
  const record = (subject: string, value: number, repetition: number): void => {
    const sample = { bench, subject, metric: "time-to-ready", unit: "ms", value, repetition };
    samples.push(sample);
    context.record(sample);
  };
  try {
    for (let repetition = -1; repetition < Math.min(5, context.repetitions); repetition++) {
      const loadStart = performance.now();
      const stage = await openStage({ stageFile: model, contextTokens: 1024, parallel: 1, threads: 1 });
      const loadMs = performance.now() - loadStart;
      stage.close();
      const upStart = performance.now();
      const cluster = await BenchCluster.start(model, {
        workers,
        threads: 1,
        contextTokens: 1024,
        parallel: 1,
        dataDir,
      });
      const upMs = performance.now() - upStart;
      await cluster.close();
      if (repetition < 0) continue; // the first run cuts the stages
      record("limit", 1.5 * loadMs + 1000 + 500 * workers, repetition);
      record("engine-load", loadMs, repetition);
      record("up", upMs, repetition);
    }
    compare(context, samples, { bench, metric: "time-to-ready", subject: "up", baseline: "limit" }, { most: 1 });
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}

function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) * 1024;
}
