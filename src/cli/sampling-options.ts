import type { Command } from "commander";
import { GREEDY, type SamplingParams } from "../engine/index.ts";
import { parseDecimal, parseInteger } from "./quantities.ts";

const DEFAULT_TOP_K = 40;
const MAX_SEED = 0xffff_ffff;

export interface SamplingOptions {
  readonly temperature: number;
  readonly topK?: number;
  readonly topP: number;
  readonly minP: number;
  readonly repeatPenalty: number;
  readonly seed: number;
}

export function addSamplingOptions(command: Command): Command {
  return command
    .option(
      "--temperature <t>",
      "0 = greedy: always the likeliest token",
      (text) => parseDecimal(text, "--temperature", 0, 10),
      GREEDY.temperature,
    )
    .option(
      "--top-k <n>",
      `sample from the n likeliest tokens, 0 = all (default: ${DEFAULT_TOP_K} when sampling)`,
      (text) => parseInteger(text, "--top-k", 0, 1_000_000),
    )
    .option(
      "--top-p <p>",
      "sample from the likeliest tokens that sum to p, 1 = all",
      (text) => parseDecimal(text, "--top-p", 0, 1),
      GREEDY.topP,
    )
    .option(
      "--min-p <p>",
      "drop tokens below p times the likeliest, 0 = none",
      (text) => parseDecimal(text, "--min-p", 0, 1),
      GREEDY.minP,
    )
    .option(
      "--repeat-penalty <x>",
      "make tokens of the last 64 less likely, 1 = off",
      (text) => parseDecimal(text, "--repeat-penalty", 0.01, 10),
      GREEDY.repeatPenalty,
    )
    .option(
      "--seed <n>",
      "of the sampler: the same seed gives the same text",
      (text) => parseInteger(text, "--seed", 0, MAX_SEED),
      GREEDY.seed,
    );
}

/** Greedy unless a temperature is given. */
export function readSampling(options: SamplingOptions): SamplingParams {
  return {
    temperature: options.temperature,
    topK: options.topK ?? (options.temperature === 0 ? GREEDY.topK : DEFAULT_TOP_K),
    topP: options.topP,
    minP: options.minP,
    repeatPenalty: options.repeatPenalty,
    seed: options.seed,
  };
}
