import { existsSync } from "node:fs";
import { cpus, homedir } from "node:os";
import { join } from "node:path";
import { median, quantile } from "../../src/common/index.ts";
import { type BenchContext, compare, type Sample } from "../lib.ts";
import { makePrompt, prepareModel } from "../models.ts";
import { type ClientTimes, complete } from "./client.ts";
import { readCpuMs } from "./cpu.ts";
import { findPeers, type Server, type ServerShape, startLlamaServer, startNoodle } from "./servers.ts";

const bench = "serve";
const STREAMS = 8;
const REAL_MODEL = join(homedir(), ".cache", "noodlecore", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
/** Prompts of two repetitions, and of two streams, never begin alike. */
const seedOf = (repetition: number, stream: number): number => (repetition + 1) * 101 + stream;

type Measure = (server: Server, repetition: number) => Promise<Readonly<Record<string, number>>>;

/** Serving beside the peers, on the 1B shape and on the real small model. */
export async function benchServe(context: BenchContext): Promise<void> {
  const peers = findPeers();
  if (peers === null) context.log("no peers to compare with: see bench/peers/README.md");
  const models = [await prepareModel(context), ...(existsSync(REAL_MODEL) ? [REAL_MODEL] : [])];
  for (const model of models) {
    const shape: ServerShape = { model, contextTokens: 768, parallel: STREAMS };
    const suffix = model === REAL_MODEL ? ", real 135M" : "";
    await withServers(
      [
        () => startNoodle("noodle 2x1", shape, { workers: 2, threads: 1 }),
        ...(peers === null
          ? []
          : [
              () => startLlamaServer("llama-server rpc 2x1", peers, shape, { threads: 1, rpcWorkers: 2 }),
              () => startLlamaServer("llama-server 2 threads", peers, shape, { threads: 2 }),
              () => startLlamaServer("llama-server 1 thread", peers, shape, { threads: 1 }),
            ]),
      ],
      async (servers) => {
        const run = (measure: Measure, among: readonly string[]) =>
          inTurns(
            context,
            servers.filter(({ name }) => among.includes(name)),
            measure,
            suffix,
          );
        const rpc = "llama-server rpc 2x1";
        const local = "llama-server 2 threads";
        const eight = await run(measureEight, ["noodle 2x1", rpc, local]);
        conclude(context, eight, `8 streams tokens_per_sec${suffix}`, "noodle 2x1", rpc, { least: 2.4 });
        conclude(context, eight, `8 streams tokens_per_sec${suffix}`, "noodle 2x1", local, { least: 1 });
        conclude(context, eight, `8 streams ttft_p50_ms${suffix}`, "noodle 2x1", rpc, { most: 0.8 });
        const one = await run(measureOne, ["noodle 2x1", rpc, "llama-server 1 thread"]);
        conclude(context, one, `1 stream decode tokens_per_sec${suffix}`, "noodle 2x1", rpc, { least: 1.7 });
        conclude(context, one, `1 stream end to end tokens_per_sec${suffix}`, "noodle 2x1", rpc, { least: 1.7 });
        conclude(context, one, `1 stream decode tokens_per_sec${suffix}`, "noodle 2x1", "llama-server 1 thread", {
          least: 0.95,
        });
        const prefill = await run(measurePrefill, ["noodle 2x1", rpc, local]);
        conclude(context, prefill, `prefill of 512 tokens_per_sec${suffix}`, "noodle 2x1", rpc, { least: 2 });
        conclude(context, prefill, `prefill of 512 tokens_per_sec${suffix}`, "noodle 2x1", local, { least: 0.85 });
      },
    );
    await benchUndivided(context, peers, shape, suffix);
  }
}

/** One worker with all cores, the model in one piece. */
async function benchUndivided(
  context: BenchContext,
  peers: string | null,
  shape: ServerShape,
  suffix: string,
): Promise<void> {
  const threads = cpus().length;
  await withServers(
    [
      () => startNoodle("noodle 1 worker", shape, { workers: 1, threads }),
      ...(peers === null ? [] : [() => startLlamaServer("llama-server", peers, shape, { threads })]),
    ],
    async (servers) => {
      const one = await inTurns(context, servers, measureOne, suffix);
      conclude(context, one, `1 stream decode tokens_per_sec${suffix}`, "noodle 1 worker", "llama-server", {
        least: 0.97,
      });
      conclude(context, one, `1 stream end to end tokens_per_sec${suffix}`, "noodle 1 worker", "llama-server", {
        least: 0.97,
      });
      const eight = await inTurns(context, servers, measureEight, suffix);
      conclude(context, eight, `8 streams tokens_per_sec${suffix}`, "noodle 1 worker", "llama-server", { least: 0.97 });
    },
  );
}

/** Inter-token latency of streams while a long prompt is read beside them, against the same streams alone. */
export async function benchServeMixed(context: BenchContext): Promise<void> {
  const shape: ServerShape = { model: await prepareModel(context), contextTokens: 2304, parallel: STREAMS };
  const samples: Sample[] = [];
  for (const determinism of ["recorded", "strict"] as const) {
    const more = ["--determinism", determinism];
    const server = await startNoodle(`noodle 2x1 ${determinism}`, shape, { workers: 2, threads: 1, more });
    try {
      for (let repetition = -1; repetition < context.repetitions; repetition++) {
        const streams = Array.from({ length: STREAMS - 1 }, (_, stream) =>
          complete(server.url, { model: server.model, prompt: prompt(128, repetition, stream), maxTokens: 160 }),
        );
        await new Promise((resolve) => setTimeout(resolve, 6000));
        const long = complete(server.url, { model: server.model, prompt: prompt(2000, repetition, 50), maxTokens: 2 });
        const { sentMs, endMs } = await long;
        const times = await Promise.all(streams);
        const gaps = times.flatMap((time) => gapsWithEnds(time));
        const beside = gaps.filter(({ endedMs }) => endedMs >= sentMs && endedMs <= endMs).map(({ gapMs }) => gapMs);
        const alone = gaps.filter(({ endedMs }) => endedMs < sentMs || endedMs > endMs).map(({ gapMs }) => gapMs);
        if (repetition < 0) continue;
        for (const [metric, value] of [
          ["itl p50 undisturbed ms", quantile(alone, 0.5)],
          ["itl p99 beside a prompt of 2000 ms", quantile(beside, 0.99)],
        ] as const) {
          const sample = { bench, subject: server.name, metric, unit: "ms", value, repetition };
          samples.push(sample);
          context.record(sample);
        }
      }
    } finally {
      await server.close();
    }
    const of = (metric: string): number[] =>
      samples.filter((each) => each.subject === server.name && each.metric === metric).map(({ value }) => value);
    const undisturbed = of("itl p50 undisturbed ms");
    const disturbed = of("itl p99 beside a prompt of 2000 ms");
    const ratios = disturbed.map((value, i) => value / (undisturbed[i] ?? Number.NaN));
    const most = determinism === "recorded" ? 2.5 : (median(undisturbed) + 300) / median(undisturbed);
    context.conclude({
      bench,
      name: "itl p99 beside a prompt of 2000 / p50 undisturbed",
      subject: server.name,
      baseline: `${median(undisturbed).toFixed(1)} ms`,
      ratio: median(ratios),
      low: Math.min(...ratios),
      high: Math.max(...ratios),
      goal: `<= ${most.toFixed(2)}`,
      met: median(ratios) <= most,
    });
  }
}

const measureEight: Measure = async (server, repetition) => {
  const before = server.pids.map(readCpuMs);
  const times = await Promise.all(
    Array.from({ length: STREAMS }, (_, stream) =>
      complete(server.url, { model: server.model, prompt: prompt(128, repetition, stream), maxTokens: 64 }),
    ),
  );
  const wallMs = Math.max(...times.map(({ endMs }) => endMs)) - Math.min(...times.map(({ sentMs }) => sentMs));
  const main = (readCpuMs(server.pids[0] ?? 0) ?? Number.NaN) - (before[0] ?? Number.NaN);
  return {
    "8 streams tokens_per_sec": (1000 * times.reduce((sum, { tokens }) => sum + tokens, 0)) / wallMs,
    "8 streams ttft_p50_ms": median(times.map(({ ttftMs }) => ttftMs)),
    "8 streams itl_p50_ms": median(times.flatMap(({ gapsMs }) => gapsMs)),
    "8 streams main process cpu share of the machine": main / (wallMs * cpus().length),
  };
};

const measureOne: Measure = async (server, repetition) => {
  const load = { model: server.model, prompt: prompt(128, repetition, 20), maxTokens: 64 };
  const { decodeTokensPerSec, totalMs, tokens } = await complete(server.url, load);
  return {
    "1 stream decode tokens_per_sec": decodeTokensPerSec,
    "1 stream end to end tokens_per_sec": (1000 * tokens) / totalMs,
  };
};

const measurePrefill: Measure = async (server, repetition) => {
  const load = { model: server.model, prompt: prompt(512, repetition, 30), maxTokens: 1 };
  return { "prefill of 512 tokens_per_sec": (1000 * 512) / (await complete(server.url, load)).ttftMs };
};

function prompt(rows: number, repetition: number, stream: number): readonly number[] {
  return [...makePrompt(rows, seedOf(repetition, stream))];
}

function gapsWithEnds({ gapsMs, sentMs, ttftMs }: ClientTimes): readonly { gapMs: number; endedMs: number }[] {
  let endedMs = sentMs + ttftMs;
  return gapsMs.map((gapMs) => {
    endedMs += gapMs;
    return { gapMs, endedMs };
  });
}

async function withServers(
  starts: readonly (() => Promise<Server>)[],
  use: (servers: readonly Server[]) => Promise<void>,
): Promise<void> {
  const servers: Server[] = [];
  try {
    for (const start of starts) servers.push(await start());
    await use(servers);
  } finally {
    for (const server of servers) await server.close();
  }
}

/** Each repetition at every server, who begins moves on; the first one warms up and does not count. */
async function inTurns(
  context: BenchContext,
  servers: readonly Server[],
  measure: Measure,
  suffix: string,
): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for (let repetition = -1; repetition < context.repetitions; repetition++) {
    for (let turn = 0; turn < servers.length; turn++) {
      const server = servers[(turn + repetition + servers.length) % servers.length];
      if (server === undefined) continue;
      const figures = await measure(server, repetition);
      if (repetition < 0) continue;
      for (const [metric, value] of Object.entries(figures)) {
        const unit = metric.endsWith("_ms") ? "ms" : "tokens_per_sec";
        const sample = { bench, subject: server.name, metric: `${metric}${suffix}`, unit, value, repetition };
        samples.push(sample);
        context.record(sample);
      }
    }
  }
  for (const subject of new Set(samples.map((sample) => sample.subject))) {
    for (const metric of new Set(samples.map((sample) => sample.metric))) {
      const values = samples
        .filter((each) => each.subject === subject && each.metric === metric)
        .map(({ value }) => value);
      context.log(
        `${subject.padEnd(24)} ${metric.padEnd(56)} ${median(values).toPrecision(4)} (${Math.min(...values).toPrecision(4)} .. ${Math.max(...values).toPrecision(4)})`,
      );
    }
  }
  return samples;
}

function conclude(
  context: BenchContext,
  samples: readonly Sample[],
  metric: string,
  subject: string,
  baseline: string,
  goal: { readonly least?: number; readonly most?: number },
): void {
  if (!samples.some((sample) => sample.subject === baseline)) {
    context.log(`${metric}: nothing to compare ${subject} with, ${baseline} is not there`);
    return;
  }
  compare(context, samples, { bench, metric, subject, baseline }, goal);
}
