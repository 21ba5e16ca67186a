import type { EngineIdentity } from "../engine/index.ts";
import type { ProfileMachine, RawCell } from "../profile/index.ts";
import type { MachineFacts } from "./machine.ts";
import type { MachineRates } from "./messages.ts";

export interface MeasuredSteps {
  readonly cells: readonly RawCell[];
  /** Weights that every step reads. */
  readonly readBytes: number;
  /** They are too many to stay in the caches from step to step. */
  readonly beyondCaches: boolean;
  readonly threads: number;
  /** Of the compute rate's matrices. */
  readonly weightType: string;
}

/**
 * The machine's part of the document. The memory's rate is the larger of two: that of a test that only reads, and that
 * of the engine's own steps of one row where their weights are far beyond the caches. Pure.
 */
export function describeMachine(
  facts: MachineFacts,
  rates: MachineRates,
  engine: EngineIdentity,
  steps: MeasuredSteps,
): ProfileMachine {
  const stepRate = steps.beyondCaches ? findStepRate(steps) : 0;
  const threads = `${steps.threads} ${steps.threads === 1 ? "thread" : "threads"}`;
  return {
    name: facts.name,
    platform: facts.platform,
    cpu_model: facts.cpuModel,
    cores: facts.cores,
    cpu_features: facts.cpuFeatures,
    cache_bytes: facts.cacheBytes,
    memory_total_bytes: facts.memoryTotalBytes,
    memory_gb_per_s: round(Math.max(rates.memoryGbPerS, stepRate)),
    memory_measured_by:
      stepRate > rates.memoryGbPerS
        ? `the weights that decode steps of one row read, ${threads}`
        : `searching an array far beyond the caches, ${threads}`,
    compute_gflops: round(rates.computeGflops),
    compute_measured_by: `the feed-forward part of a made-up block of ${steps.weightType}, ${rates.computeRows} rows, ${threads}`,
    engine_build: engine.build,
    engine_variant: engine.variant,
    device: "cpu",
  };
}

function findStepRate({ cells, readBytes }: MeasuredSteps): number {
  const rates = cells
    .filter((cell) => cell.phase === "decode" && cell.rows === 1 && cell.stepOffMs.length > 0)
    .map(({ stepOffMs }) => readBytes / 1e6 / (stepOffMs.toSorted((a, b) => a - b)[stepOffMs.length >> 1] ?? Infinity));
  return Math.max(0, ...rates);
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
