import { sum } from "../common/index.ts";
import type { LoadRecord } from "./run-load.ts";
import type { RunFigures, StageFigures } from "./types.ts";

/** The figures of a load that was run. @param stages of the pipeline */
export function summarizeRun({ requests, steps }: LoadRecord, stages: number): RunFigures {
  const startMs = Math.min(...requests.map(({ calledMs }) => calledMs));
  const endMs = Math.max(...requests.map(({ tokenMs }) => tokenMs.at(-1) ?? 0));
  const tokens = sum(requests.map(({ tokenMs }) => tokenMs.length));
  const gaps = requests.flatMap(({ tokenMs }) => tokenMs.slice(1).map((ms, i) => ms - (tokenMs[i] ?? ms)));
  return {
    tokensPerSec: (1000 * tokens) / (endMs - startMs),
    ttftMs: mean(requests.map(({ calledMs, tokenMs }) => (tokenMs[0] ?? calledMs) - calledMs)) ?? 0,
    itlMs: mean(gaps) ?? 0,
    stages: Array.from({ length: stages }, (_, index): StageFigures => {
      const all = steps.flatMap(({ phase, stages: times }) => {
        const time = times.find(({ stage }) => stage === index);
        return time === undefined || time.computeNs === 0 ? [] : [{ phase, ms: time.computeNs / 1e6 }];
      });
      const of = (phase: string): number | null => mean(all.flatMap((step) => (step.phase === phase ? [step.ms] : [])));
      return {
        decodeMs: of("decode"),
        prefillMs: of("prefill"),
        busyRatio: sum(all.map(({ ms }) => ms)) / (endMs - startMs),
      };
    }),
  };
}

/** Null of none. */
export function mean(values: readonly number[]): number | null {
  return values.length === 0 ? null : sum(values) / values.length;
}
