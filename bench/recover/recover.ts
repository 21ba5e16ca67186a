import type { CoordinatorOptions } from "../../src/cluster/coordinator/index.ts";
import { quantile } from "../../src/common/index.ts";
import type { Trial } from "../../test/faults/types.ts";
import type { BenchContext } from "../lib.ts";
import { benchCoordinatorKills } from "./coordinator-kills.ts";
import { benchRecoverCost } from "./cost.ts";
import { runKills } from "./kills.ts";
import { makeLoad } from "./load.ts";
import { prepareTimedModels, prepareTypedModels, type RecoverModel } from "./models.ts";
import { benchRepartition } from "./repartition.ts";

const bench = "recover";
const CONTEXT_TOKENS = 512;
const PROMPT_TOKENS = 400;
const NEIGHBOURS = 7;
/** Cells of bits: three types of weights, alone and among others. */
const BIT_CELLS = 6;
const LEAST_KILLS = 18;

/** What a death costs, and that nothing is lost by it: all of METHODOLOGY.md's "recover". */
export async function benchRecover(context: BenchContext): Promise<void> {
  await benchRecoverTimes(context);
  await benchRecoverBits(context);
  await benchRecoverCost(context);
  await benchRepartition(context);
  await benchCoordinatorKills(context);
}

/** SIGKILL of a worker to the next token, with a spare worker that loads the stage from disk. */
export async function benchRecoverTimes(context: BenchContext): Promise<void> {
  for (const model of await prepareTimedModels(context)) {
    await timeKills(context, model, "cold", {}, { p50: 5000, p99: null });
  }
}

async function timeKills(
  context: BenchContext,
  { name, path }: RecoverModel,
  kind: string,
  coordinator: Partial<CoordinatorOptions>,
  goal: { readonly p50: number; readonly p99: number | null },
): Promise<void> {
  const sizes = { promptTokens: PROMPT_TOKENS, maxTokens: 100, vocab: 30_000 };
  const trials = await runKills(context, {
    name: `${name}, ${kind}`,
    bed: {
      model: path,
      workers: 4,
      stages: 3,
      hasSharedData: true,
      coordinator: { contextTokens: CONTEXT_TOKENS, parallel: 8, determinism: "strict", ...coordinator },
    },
    loads: [0, 1, 2].map((first) => makeLoad(1, sizes, first)),
    kills: context.kills,
    seed: 1,
  });
  const times = trials.map(({ nextTokenMs }) => nextTokenMs).filter((ms) => ms !== null);
  record(context, `${name}, ${kind}`, trials);
  concludeTimes(context, `${name}, ${kind}`, "next token p50 ms", quantile(times, 0.5), times, goal.p50);
  if (goal.p99 !== null) {
    concludeTimes(context, `${name}, ${kind}`, "next token p99 ms", quantile(times, 0.99), times, goal.p99);
  }
  concludeSame(context, `${name}, ${kind}`, trials);
}

/** Whether bits survive: three types of weights, three ways to choose tokens, alone and among seven others. */
export async function benchRecoverBits(context: BenchContext): Promise<void> {
  const kills = Math.max(LEAST_KILLS, Math.ceil((5 * context.kills) / BIT_CELLS));
  const sizes = { promptTokens: 200, maxTokens: 80, vocab: 4096 };
  for (const { name, path } of await prepareTypedModels(context)) {
    for (const neighbours of [0, NEIGHBOURS]) {
      const cell = `${name}, ${neighbours === 0 ? "alone" : `among ${neighbours} others`}`;
      const loads =
        neighbours === 0 ? [0, 1, 2].map((first) => makeLoad(1, sizes, first)) : [makeLoad(1 + neighbours, sizes)];
      const coordinator = { contextTokens: CONTEXT_TOKENS, parallel: 8, determinism: "strict" as const };
      const bed = { model: path, workers: 4, stages: 3, hasSharedData: true, coordinator };
      const trials = await runKills(context, { name: cell, bed, loads, kills, seed: 2 });
      record(context, cell, trials);
      concludeSame(context, cell, trials);
    }
  }
}

function record(context: BenchContext, subject: string, trials: readonly Trial[]): void {
  for (const [repetition, { detectMs, replanMs, nextTokenMs }] of trials.entries()) {
    for (const [metric, value] of Object.entries({ detect: detectMs, replan: replanMs, "next token": nextTokenMs })) {
      if (value !== null) context.record({ bench, subject, metric: `${metric} ms`, unit: "ms", value, repetition });
    }
  }
}

export function concludeTimes(
  context: BenchContext,
  subject: string,
  name: string,
  value: number,
  times: readonly number[],
  goalMs: number,
): void {
  context.conclude({
    bench,
    name: `${name}: ${Math.round(value)} of ${times.length}`,
    subject,
    baseline: `limit ${goalMs} ms`,
    ratio: value / goalMs,
    low: Math.min(...times) / goalMs,
    high: Math.max(...times) / goalMs,
    goal: "<= 1",
    met: value <= goalMs,
  });
}

/** All tokens of all streams, and all their keys and values, are those of a run without the fault. */
function concludeSame(context: BenchContext, subject: string, trials: readonly Trial[]): void {
  const good = trials.filter(({ isGood }) => isGood).length;
  const streams = trials.reduce((sum, trial) => sum + trial.streams, 0);
  const share = trials.length === 0 ? 0 : good / trials.length;
  context.conclude({
    bench,
    name: `${good} of ${trials.length} kills, ${streams} streams`,
    subject,
    baseline: "same tokens and KV as without the kill",
    ratio: share,
    low: share,
    high: share,
    goal: ">= 1",
    met: share === 1,
  });
}
