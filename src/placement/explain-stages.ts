import type { StageRange } from "../planner/index.ts";
import { sayBytes } from "../profile/index.ts";
import type { PlacementObjective } from "./plan-types.ts";
import { sayMs, sayShare } from "./quantities.ts";
import type { Setup } from "./setup.ts";
import { type PlacedValue, valuePlan } from "./value.ts";

/** Why each stage ends where it ends: what one group of units more would do to what the objective counts. */
export function explainStages(
  setup: Setup,
  stages: readonly StageRange[],
  best: PlacedValue,
  objective: PlacementObjective,
): string[] {
  const isLatency = objective === "latency";
  const batching = isLatency ? { rows: 1, inFlight: 1 } : best.batching;
  const now = valuePlan(setup, stages, batching);
  /** Share of what the objective counts that other stages would lose; negative where they would be better. */
  const lossOf = (value: PlacedValue): number =>
    isLatency ? value.roundMs / now.roundMs - 1 : 1 - value.tokensPerS / now.tokensPerS;
  const sayLoss = (loss: number): string =>
    isLatency ? `make a token take ${sayShare(loss)} longer` : `cost ${sayShare(loss)} of the tokens`;
  return stages.map((stage, at) => {
    const next = stages[at + 1];
    if (next === undefined) return stages.length === 1 ? "the whole model" : "the rest";
    const what = nameUnits(setup, stage.end);
    const isEmptied = next.end === stage.end + 1;
    const moved = isEmptied
      ? [...stages.slice(0, at), { ...stage, end: next.end }, ...stages.slice(at + 2)]
      : stages.with(at, { ...stage, end: stage.end + 1 }).with(at + 1, { ...next, first: stage.end + 1 });
    const value = valuePlan(setup, moved, batching);
    const [violation] = value.value.violations;
    if (violation?.resource === "memory") {
      return `for ${what} its memory is ${sayBytes(violation.needed - violation.limit)} too small`;
    }
    if (violation !== undefined) return `with ${what} it can't be run: ${violation.words}`;
    const ms = value.value.stage_ms[at] ?? 0;
    const loss = lossOf(value);
    // Of a rule, or where the search was cut short.
    if (loss < -1e-6) return `with ${what} too the plan would be better; that is not where its rule or search cut`;
    if (loss <= 1e-9) return "a cut behind the next unit is no better";
    if (isEmptied)
      return `with ${what} too, ${next.nodes[0]} would have nothing to do, and that would ${sayLoss(loss)}`;
    if (!isLatency && ms > now.periodMs * (1 + 1e-9)) {
      return `with ${what} too it would take ${sayMs(ms)}, be the slowest, and ${sayLoss(loss)}`;
    }
    return `with ${what} too it would ${sayLoss(loss)}`;
  });
}

/** `blk.7`, or `blk.7 to blk.9` where they must stay together. */
function nameUnits(setup: Setup, group: number): string {
  const { units } = setup.model.description;
  const [first = 0, end = 0] = [setup.bounds[group], setup.bounds[group + 1]];
  const name = (unit: number): string => units[unit]?.name ?? `unit ${unit}`;
  return end - first > 1 ? `${name(first)} to ${name(end - 1)}` : name(first);
}
