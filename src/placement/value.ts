import { must } from "../common/index.ts";
import { evaluatePlan, type PlanValue, type StageRange } from "../planner/index.ts";
import type { Setup, StagePlace } from "./setup.ts";
import { type Batching, listBatchings } from "./workload.ts";

/** What a plan is worth with one way of batching. */
export interface PlacedValue {
  readonly places: readonly StagePlace[];
  readonly batching: Batching;
  /** One micro-batch through all stages and back, the coordinator's hops included. */
  readonly roundMs: number;
  readonly periodMs: number;
  /** From token to token of each stream: the longer of a round and of what the busiest part needs for all. */
  readonly itlMs: number;
  readonly tokensPerS: number;
  readonly value: PlanValue;
}

/** Values stages of the problem exactly, with a given batching. */
export function valuePlan(setup: Setup, stages: readonly StageRange[], batching: Batching): PlacedValue {
  const { rows, inFlight } = batching;
  const value = evaluatePlan(setup.problem(rows), stages);
  const places = setup.toPlaces(stages);
  const [first, last] = [must(places[0], "first stage"), must(places.at(-1), "last stage")];
  const roundMs = value.latency_ms + setup.enterMs(first.node, rows) + setup.leaveMs(last.node, rows);
  const periodMs = value.period_ms;
  const itlMs = Math.max(roundMs, inFlight * periodMs);
  const tokensPerS = itlMs > 0 ? (1000 * setup.workload.streams) / itlMs : Number.POSITIVE_INFINITY;
  return { places, batching, roundMs, periodMs, itlMs, tokensPerS, value };
}

/** Values stages with the batching that suits them best; null for a plan that cannot be run. */
export function valueBest(setup: Setup, stages: readonly StageRange[]): PlacedValue | null {
  const all = listBatchings(setup.workload).map((batching) => valuePlan(setup, stages, batching));
  const best = all.reduce((a, b) => (b.tokensPerS > a.tokensPerS * (1 + 1e-12) ? b : a));
  return best.value.violations.length > 0 ? null : best;
}

/** One stream alone: a micro-batch of one row. */
export function valueSingle(setup: Setup, stages: readonly StageRange[]): PlacedValue {
  return valuePlan(setup, stages, { rows: 1, inFlight: 1 });
}
