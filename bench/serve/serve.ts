import { existsSync } from "node:fs";
import { cpus, homedir } from "node:os";
import { join } from "node:path";
import { median } from "../../src/common/index.ts";
import { type BenchContext, compare, type Sample } from "../lib.ts";
import { prepareModel } from "../models.ts";
import { complete } from "./client.ts";
import { readCpuMs } from "./cpu.ts";
import { prompt, STREAMS } from "./prompts.ts";
import { findPeers, type Server, type ServerShape, startLlamaServer, startNoodle } from "./servers.ts";

const bench = "serve";
const REAL_MODEL = join(homedir(), ".cache", "noodlecore", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
type Measure = (server: Server, repetition: number) => Promise<Readonly<Record<string, number>>>;

/** Serving beside the peers, on the 1B shape and on the real small model. */
export async function benchServe(context: BenchContext): Promise<void> {
  await benchServePipeline(context);
  await benchServeUndivided(context);
  await benchServeReal(context);
}

/** Two workers with the 1B shape. */
export async function benchServePipeline(context: BenchContext): Promise<void> {
  await benchPipeline(context, shapeOf(await prepareModel(context)), "");
}

/** One worker with the 1B shape. */
export async function benchServeUndivided(context: BenchContext): Promise<void> {
  await benchUndivided(context, shapeOf(await prepareModel(context)), "");
}

/** Both with the real small model. */
export async function benchServeReal(context: BenchContext): Promise<void> {
  if (!existsSync(REAL_MODEL)) return context.log(`${REAL_MODEL} is not there: scripts/fetch-real-model.sh gets it`);
  await benchPipeline(context, shapeOf(REAL_MODEL), ", real 135M");
  await benchUndivided(context, shapeOf(REAL_MODEL), ", real 135M");
}

function shapeOf(model: string): ServerShape {
  return { model, contextTokens: 768, parallel: STREAMS };
}

function findPeersOrSay(context: BenchContext): string | null {
  const peers = findPeers();
  if (peers === null) context.log("no peers to compare with: see bench/peers/README.md");
  return peers;
}

async function benchPipeline(context: BenchContext, shape: ServerShape, suffix: string): Promise<void> {
  const peers = findPeersOrSay(context);
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
}

/** One worker with all cores, the model in one piece. */
async function benchUndivided(context: BenchContext, shape: ServerShape, suffix: string): Promise<void> {
  const peers = findPeersOrSay(context);
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
