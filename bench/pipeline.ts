import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStage } from "../src/engine/index.ts";
import { BenchCluster, UpCommand } from "./cluster.ts";
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
    const dataDir = await mkdtemp(join(tmpdir(), "noodle-bench-"));
    const up = await UpCommand.start(model, 2, dataDir);
    try {
      await up.ask("generate", "-p", "word ".repeat(100), "-n", "8");
      const status = await up.status();
      const conclude = (subject: string, rssBytes: number, limitBytes: number): void => {
        const rssMib = rssBytes / MIB;
        context.record({ bench, subject, metric: "rss", unit: "mib", value: rssMib, repetition: 0 });
        context.conclude({
          bench,
          name: "rss",
          subject,
          baseline: `limit ${(limitBytes / MIB).toFixed(0)} MiB`,
          ratio: rssBytes / limitBytes,
          low: rssMib,
          high: rssMib,
          goal: "<= 1",
          met: rssBytes <= limitBytes,
        });
      };
      conclude(`coordinator of ${like}`, status.coordinator.rss_bytes, 250 * MIB);
      for (const stage of status.stages) {
        const node = status.nodes.find(({ id }) => id === stage.node);
        const accounted = stage.weights_bytes + stage.kv_bytes + stage.compute_bytes;
        conclude(`worker of ${like} ${stage.units}`, node?.rss_bytes ?? 0, accounted + 250 * MIB);
      }
    } finally {
      await up.stop();
      await rm(dataDir, { recursive: true, force: true });
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
      const up = await UpCommand.start(model, workers, dataDir);
      await up.stop();
      if (repetition < 0) continue; // the first run cuts the stages
      record("limit", 1.5 * loadMs + 1000 + 500 * workers, repetition);
      record("engine-load", loadMs, repetition);
      record("up", up.readyMs, repetition);
    }
    compare(context, samples, { bench, metric: "time-to-ready", subject: "up", baseline: "limit" }, { most: 1 });
  } finally {
    await rm(dataDir, { recursive: true, force: true });
  }
}
