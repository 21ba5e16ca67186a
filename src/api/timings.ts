import { sum } from "../common/index.ts";
import type { z } from "zod";
import type { TIMINGS, USAGE } from "./schemas/completions.ts";
import type { GenerateEvent } from "../cluster/coordinator/index.ts";

export type DoneEvent = Extract<GenerateEvent, { readonly type: "done" }>;
export type Timings = z.infer<typeof TIMINGS>;
export type Usage = z.infer<typeof USAGE>;

/** A generation that has ended, with how long its prompt was. */
export interface Finished {
  readonly promptTokens: number;
  readonly done: DoneEvent;
}

/** What the generations of one request took together: counts are sums, times the longest. */
export function describeTimings(finished: readonly Finished[]): Timings {
  const longest = (read: (done: DoneEvent) => number): number => Math.max(0, ...finished.map(({ done }) => read(done)));
  const prefillMs = longest((done) => done.prefillMs);
  const decodeMs = longest((done) => done.decodeMs);
  const cached = sum(finished.map(({ done }) => done.cachedTokens));
  const prompt = sum(finished.map(({ promptTokens }) => promptTokens));
  const generated = sum(finished.map(({ done }) => done.generatedTokens));
  const behindFirst = sum(finished.map(({ done }) => Math.max(0, done.generatedTokens - 1)));
  return {
    queue_ms: round(longest((done) => done.queueMs)),
    prefill_ms: round(prefillMs),
    decode_ms: round(decodeMs),
    prompt_n: prompt,
    predicted_n: generated,
    cached_n: cached,
    prompt_per_second: rate(prompt - cached, prefillMs),
    predicted_per_second: rate(behindFirst, decodeMs),
    stages: describeStages(finished[0]?.done.stages ?? []),
  };
}

/** Prompts are counted once, however many choices they have. */
export function describeUsage(finished: readonly Finished[], choices: number): Usage {
  const firsts = finished.filter((_, index) => index % choices === 0);
  const prompt = sum(firsts.map(({ promptTokens }) => promptTokens));
  const generated = sum(finished.map(({ done }) => done.generatedTokens));
  return {
    prompt_tokens: prompt,
    completion_tokens: generated,
    total_tokens: prompt + generated,
    prompt_tokens_details: { cached_tokens: sum(firsts.map(({ done }) => done.cachedTokens)) },
  };
}

function describeStages(stages: DoneEvent["stages"]): Timings["stages"] {
  const total = sum(stages.map((stage) => stage.computeMsP50));
  return stages.map((stage) => ({
    node: stage.nodeId,
    name: stage.name,
    first_unit: stage.units.first,
    end_unit: stage.units.end,
    compute_ms_p50: round(stage.computeMsP50),
    queue_ms_p50: round(stage.queueMsP50),
    hop_ms_p50: stage.hopMsP50 === null ? null : round(stage.hopMsP50),
    share: total === 0 ? 0 : round(stage.computeMsP50 / total),
  }));
}

function rate(tokens: number, ms: number): number {
  return ms <= 0 ? 0 : round((tokens * 1000) / ms);
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
