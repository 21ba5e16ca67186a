import type { WantedPlan } from "../../src/cluster/coordinator/index.ts";

/** Of a plan that nobody calculated. */
export const WITHOUT_TERMS: WantedPlan["terms"] = {
  sha256: "",
  decodeInFlight: null,
  maxDecodeRows: null,
  prefillRows: null,
  mixedPrefillRows: null,
  predictedPeriodMs: null,
  predictedLatencyMs: null,
  predictedTokensPerSec: null,
};

/** The same stages with every inner cut so many units further on. */
export function shiftSplit(split: string, units: number): string {
  const stages = split.split(",").map((stage) => stage.split(":").map(Number));
  return stages
    .map(([first = 0, end = 0], index) => {
      const isLast = index === stages.length - 1;
      return `${index === 0 ? first : first + units}:${isLast ? end : end + units}`;
    })
    .join(",");
}
