import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { median } from "../../src/common/index.ts";
import type { BenchContext } from "../lib.ts";
import { makePrompt, prepareModel } from "../models.ts";
import { complete } from "./client.ts";
import { type Server, startNoodle } from "./servers.ts";

const bench = "serve-soak";
const BUNDLED_MODEL = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));
const WAITING_STREAMS = 1000;
const REQUESTS = 10_000;
const CONCURRENCY = 16;
const READINGS = 20;
/** Of its own size, over the second half of the run: what comes and goes with garbage collection. */
const MOST_GROWTH = 0.05;

/** Many connected streams that wait, then very many short requests: nothing may be lost, and memory may not grow. */
export async function benchServeSoak(context: BenchContext): Promise<void> {
  const shape = { model: BUNDLED_MODEL, contextTokens: 256, parallel: 8 };
  const more = ["--queue", "2000", "--queue-per-client", "2000"];
  const server = await startNoodle("noodle 2x1", shape, { workers: 2, threads: 1, more });
  try {
    const waiting = await Promise.allSettled(
      Array.from({ length: WAITING_STREAMS }, (_, stream) =>
        complete(server.url, { model: server.model, prompt: smallPrompt(16, stream), maxTokens: 16 }),
      ),
    );
    concludeLost(
      context,
      `${WAITING_STREAMS} streams at once`,
      waiting.filter(({ status }) => status === "rejected").length,
    );

    const readings = new Map<number, number[]>(server.pids.map((pid) => [pid, []]));
    let sent = 0;
    let lost = 0;
    const send = async (): Promise<void> => {
      while (sent < REQUESTS) {
        const index = sent++;
        if (index % (REQUESTS / READINGS) === 0) for (const [pid, bytes] of readings) bytes.push(readRssBytes(pid));
        const load = { model: server.model, prompt: smallPrompt(8, index), maxTokens: 1 };
        await complete(server.url, load).catch(() => {
          lost += 1;
        });
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, send));
    concludeLost(context, `${REQUESTS} requests of one token`, lost);
    for (const [index, [, bytes]] of [...readings].entries()) concludeGrowth(context, server, index, bytes);
  } finally {
    await server.close();
  }
}

/** The cost of `strict` for each weight type: one stream, and eight, in turns with `recorded`. */
export async function benchServeStrict(context: BenchContext): Promise<void> {
  for (const type of ["q4_0", "q8_0", "q4_k_m", "f16"]) {
    const model = await prepareModel(context, "smollm2-360m", type);
    const shape = { model, contextTokens: 1024, parallel: 8 };
    const servers: Server[] = [];
    try {
      for (const mode of ["recorded", "strict"]) {
        servers.push(await startNoodle(mode, shape, { workers: 2, threads: 1, more: ["--determinism", mode] }));
      }
      for (const streams of [1, 8]) {
        const rates = new Map<string, number[]>(servers.map(({ name }) => [name, []]));
        for (let repetition = -1; repetition < context.repetitions; repetition++) {
          for (const server of repetition % 2 === 0 ? servers : servers.toReversed()) {
            const times = await Promise.all(
              Array.from({ length: streams }, (_, stream) =>
                complete(server.url, {
                  model: server.model,
                  prompt: [...makePrompt(64, (repetition + 1) * 101 + stream)],
                  maxTokens: 64,
                }),
              ),
            );
            const decode = times.reduce((sum, { decodeTokensPerSec }) => sum + decodeTokensPerSec, 0);
            if (repetition >= 0) rates.get(server.name)?.push(decode);
          }
        }
        const recorded = rates.get("recorded") ?? [];
        const ratios = (rates.get("strict") ?? []).map((rate, i) => rate / (recorded[i] ?? Number.NaN));
        context.conclude({
          bench: "serve-strict",
          name: `${type}, ${streams} stream(s), decode`,
          subject: "strict",
          baseline: "recorded",
          ratio: median(ratios),
          low: Math.min(...ratios),
          high: Math.max(...ratios),
          goal: "stated",
          met: true,
        });
      }
    } finally {
      for (const server of servers) await server.close();
    }
  }
}

/** The bundled model has a small vocabulary. */
function smallPrompt(rows: number, seed: number): readonly number[] {
  return [...makePrompt(rows, seed)].map((id) => 10 + (id % 1000));
}

function readRssBytes(pid: number): number {
  return 1024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? Number.NaN);
}

function concludeLost(context: BenchContext, name: string, lost: number): void {
  const values = { ratio: lost, low: lost, high: lost };
  context.conclude({ bench, name, subject: "lost", baseline: "none", ...values, goal: "<= 0", met: lost === 0 });
}

/** The last quarter's memory against that of the quarter behind the middle: caches are warm by then. */
function concludeGrowth(context: BenchContext, server: Server, index: number, bytes: readonly number[]): void {
  const quarter = bytes.length / 4;
  const [before, after] = [median(bytes.slice(2 * quarter, 3 * quarter)), median(bytes.slice(3 * quarter))];
  const growth = after / before - 1;
  context.conclude({
    bench,
    name: `growth of ${index === 0 ? "the main process" : `process ${index}`}`,
    subject: `${(after / 2 ** 20).toFixed(0)} MiB`,
    baseline: server.name,
    ratio: growth,
    low: Math.min(...bytes) / before - 1,
    high: Math.max(...bytes) / before - 1,
    goal: `<= ${MOST_GROWTH}`,
    met: growth <= MOST_GROWTH,
  });
}
