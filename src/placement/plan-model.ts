import { must, NoodleError } from "../common/index.ts";
import { formatSplit } from "../model/index.ts";
import { planBaseline, type StageRange } from "../planner/index.ts";
import { compareAlone, explainLeftOut } from "./compare-alone.ts";
import { compareRules, findTogether, listAlternativePlans, listFront } from "./compare-others.ts";
import { explainNone } from "./explain-none.ts";
import { explainStages } from "./explain-stages.ts";
import { growPlan } from "./grow.ts";
import { findLink } from "./links.ts";
import { countStageMemory } from "./memory.ts";
import type {
  ModelPlan,
  ModelPlanBound,
  ModelPlanFigures,
  ModelPlanHop,
  ModelPlanPolicy,
  ModelPlanStage,
  PlacementObjective,
  PlanModelInput,
  PlanModelOptions,
} from "./plan-types.ts";
import { choosePrefill, chooseMixedRows, chunkMs, type PrefillFigures } from "./predict.ts";
import { sayMs } from "./quantities.ts";
import { type Found, makeLegal, searchPlan } from "./search.ts";
import { searchEvery } from "./search-every.ts";
import { Setup } from "./setup.ts";
import { type PlacedValue, valueBest, valueSingle } from "./value.ts";
import { compileWorkload, padRows } from "./workload.ts";

const TIME_LIMIT_S = 10;
/** Of the time limit, for what is said beside the plan. */
const ASIDE_SHARE = 0.3;

/**
 * Plans a model on a cluster: which nodes, in which order, cut where, in micro-batches of how many rows with how many in
 * flight. A machine alone is a plan like any other: where it is best, it is the answer.
 *
 * @throws NoodleError `USAGE`, `CONTEXT_EXCEEDED` for a workload out of range, or a baseline that there is not
 */
export async function planModel(input: PlanModelInput, options: PlanModelOptions): Promise<ModelPlan> {
  const startMs = options.nowMs();
  const { model, cluster, objective, timeLimitS = TIME_LIMIT_S } = input;
  const workload = compileWorkload(input.workload, model);
  const setup = new Setup(model, cluster, input.nodes, workload);
  const found = await findPlan(setup, input, timeLimitS, options);
  const { description } = model;
  const head = {
    schema: "noodle.model_plan.v1",
    objective,
    model: {
      name: description.name,
      architecture: description.architecture,
      header_sha256: model.headerSha256,
      path: model.path,
      units: description.units.length,
      embedding_length: description.embeddingLength,
    },
    workload: {
      streams: workload.streams,
      context_tokens: workload.contextTokens,
      mean_context_tokens: workload.meanContextTokens,
      prompt_tokens: workload.promptTokens,
      determinism: workload.determinism,
    },
  } as const;
  const { stages, best } = found;
  const notes = [...(input.notes ?? [])];
  const alone = compareAlone(setup);
  if (stages === null || best === null) {
    return {
      ...head,
      feasible: false,
      split: null,
      order: [],
      policy: null,
      stages: [],
      hops: [],
      predicted: null,
      bound: null,
      algorithm: found.algorithm,
      solve_ms: options.nowMs() - startMs,
      time_limit_hit: found.timeLimitHit,
      candidates: [],
      alone,
      alternatives: [],
      left_out: [],
      notes,
      infeasible_because: found.because ?? (await explainNone(setup, timeLimitS * ASIDE_SHARE, options)),
    };
  }
  const prefill = choosePrefill(setup, best.places);
  const front =
    objective === "pareto" && input.baseline === undefined
      ? await listFront(setup, best, timeLimitS * ASIDE_SHARE, options)
      : null;
  const predicted = predict(setup, stages, best, prefill);
  if (predicted.extrapolated) {
    notes.push(
      "some of the prediction lies outside what the profiles measured: `noodle profile` with more --decode-rows, --prefill or --contexts would tell",
    );
  }
  const asideS = timeLimitS * ASIDE_SHARE;
  return {
    ...head,
    feasible: true,
    split: formatSplit(best.places),
    order: best.places.map((place) => place.node),
    policy: choosePolicy(setup, best, prefill),
    stages: describeStages(setup, stages, best, prefill, objective),
    hops: describeHops(setup, best),
    predicted,
    bound: describeBound(input, found, best, setup, stages),
    algorithm: front === null ? found.algorithm : `${found.algorithm}, front: ${front.algorithm}`,
    solve_ms: options.nowMs() - startMs,
    time_limit_hit: found.timeLimitHit,
    candidates: found.tried.map((one) => ({
      rows: one.batching.rows,
      in_flight: one.batching.inFlight,
      tokens_per_s: one.tokensPerS,
      best_possible_tokens_per_s: one.mostTokensPerS,
      solved: one.solved,
    })),
    alone,
    alternatives: front?.points ?? [
      ...(stages.length === 1 ? await findTogether(setup, objective, asideS, options) : []),
      ...listAlternativePlans(setup, objective, stages, best, options),
    ],
    left_out: explainLeftOut(setup, objective, new Set(best.places.map((place) => place.node)), best.batching.rows),
    ...(input.compare === true ? { baselines: compareRules(setup, objective, best) } : {}),
    ...(input.growth === true
      ? {
          growth: await growPlan(
            setup,
            objective,
            { value: found.value, used: new Set(best.places.map((place) => place.node)) },
            asideS,
            options,
          ),
        }
      : {}),
    notes,
  };
}

/** @throws NoodleError `USAGE` for wishes that do not go together */
function findPlan(
  setup: Setup,
  { objective, baseline, everyNode = false }: PlanModelInput,
  timeLimitS: number,
  options: PlanModelOptions,
): Promise<Found> {
  if (everyNode && (objective !== "throughput" || baseline !== undefined)) {
    throw new NoodleError(
      "USAGE",
      "every node is asked for: that goes with the objective throughput, and no other rule",
    );
  }
  if (everyNode) return Promise.resolve(searchEvery(setup));
  if (baseline !== undefined) return followRule(setup, baseline, timeLimitS, options);
  return searchPlan(setup, objective, { ...options, timeLimitS: timeLimitS * (1 - ASIDE_SHARE) });
}

/** The plan of another system's rule, with the bound of ours. */
async function followRule(setup: Setup, name: string, timeLimitS: number, options: PlanModelOptions): Promise<Found> {
  const ours = await searchPlan(setup, "throughput", { ...options, timeLimitS: timeLimitS * (1 - ASIDE_SHARE) });
  const rows = ours.best?.batching.rows ?? 1;
  const answer = await planBaseline({ ...setup.problem(rows), time_limit_s: timeLimitS * ASIDE_SHARE }, name, options);
  const [stages = null] = answer.feasible ? makeLegal(setup, answer.stages) : [];
  const best = stages === null ? null : valueBest(setup, stages);
  const none = {
    words:
      answer.infeasible_because?.words ??
      `the plan of ${name} can't be run: a stage of it would change the model's result, or does not fit`,
    remedies: [],
  };
  return {
    ...ours,
    stages: best === null || stages === null ? null : stages.map(({ nodes, first, end }) => ({ nodes, first, end })),
    best,
    value: best?.tokensPerS ?? 0,
    // Tried for our own plan, with other cuts.
    tried: [],
    proven: best !== null && ours.proven && best.tokensPerS >= ours.bound * (1 - 1e-9),
    algorithm: answer.algorithm,
    ...(best === null ? { because: none } : {}),
  };
}

function describeBound(
  { objective, baseline }: PlanModelInput,
  found: Found,
  best: PlacedValue,
  setup: Setup,
  stages: readonly StageRange[],
): ModelPlanBound {
  const kind = baseline === undefined ? objective : "throughput";
  if (kind === "latency") {
    const value = valueSingle(setup, stages).roundMs;
    return {
      unit: "ms",
      found: value,
      best_possible: found.bound,
      gap: gapOf(value, found.bound),
      proven: found.proven,
    };
  }
  if (kind === "fewest_nodes") {
    const gap = gapOf(stages.length, found.bound);
    return { unit: "nodes", found: stages.length, best_possible: found.bound, gap, proven: found.proven };
  }
  // Of what there is most to be had, the distance is counted from what was found.
  const gap = best.tokensPerS > 0 ? Math.max(0, found.bound / best.tokensPerS - 1) : null;
  return {
    unit: "tokens_per_s",
    found: best.tokensPerS,
    best_possible: found.bound,
    gap: found.proven ? 0 : gap,
    proven: found.proven,
  };
}

function gapOf(value: number, bound: number): number | null {
  if (value <= bound * (1 + 1e-9)) return 0;
  return bound > 0 ? value / bound - 1 : null;
}

function predict(
  setup: Setup,
  stages: readonly StageRange[],
  best: PlacedValue,
  prefill: PrefillFigures,
): ModelPlanFigures {
  const { batching, value, places, roundMs, periodMs, itlMs } = best;
  const query = {
    phase: "decode",
    rows: padRows(setup.workload, batching.rows),
    context: setup.workload.meanContextTokens,
  } as const;
  const isExtrapolated = places.some((place) => setup.node(place.node).costs.predictStage(place, query).extrapolated);
  const { kind, stage, ms } = value.bottleneck;
  const isRound = roundMs > batching.inFlight * periodMs * (1 + 1e-9);
  const name = places[stage]?.node ?? "";
  const words = isRound
    ? `the way round, ${sayMs(roundMs)}: with ${batching.inFlight} micro-batch${batching.inFlight === 1 ? "" : "es"} in flight no stage is busy all the time`
    : kind === "stage"
      ? `the stage of ${name}, ${sayMs(ms)} for each micro-batch`
      : `the link from ${name} to ${places[stage + 1]?.node ?? ""}, ${sayMs(ms)} for each micro-batch`;
  return {
    tokens_per_s: best.tokensPerS,
    itl_ms: itlMs,
    single_itl_ms: valueSingle(setup, stages).roundMs,
    ttft_ms: prefill.ttftMs,
    prefill_tokens_per_s: (1000 * setup.workload.promptTokens) / prefill.ttftMs,
    round_ms: roundMs,
    period_ms: periodMs,
    bottleneck: isRound ? { kind: "round", stage: null, ms: roundMs, words } : { kind, stage, ms, words },
    extrapolated: isExtrapolated || prefill.extrapolated,
  };
}

function choosePolicy(setup: Setup, best: PlacedValue, prefill: PrefillFigures): ModelPlanPolicy {
  const { streams, align } = setup.workload;
  const { rows, inFlight } = best.batching;
  return {
    stages: best.places.length,
    decode_in_flight: inFlight,
    max_decode_rows: padRows(setup.workload, rows),
    prefill_rows: prefill.rows,
    mixed_prefill_rows: chooseMixedRows(setup, best.places, prefill.rows, best.itlMs),
    slots: padRows(setup.workload, streams),
    align,
  };
}

function describeStages(
  setup: Setup,
  stages: readonly StageRange[],
  best: PlacedValue,
  prefill: PrefillFigures,
  objective: PlacementObjective,
): ModelPlanStage[] {
  const reasons = explainStages(setup, stages, best, objective);
  return best.places.map((place, index) => {
    const memory = countStageMemory(setup.model, setup.workload, place);
    const decodeMs = must(best.value.stage_ms[index], "stage time");
    return {
      node: place.node,
      first: place.first,
      end: place.end,
      units: `${place.first}:${place.end}`,
      decode_ms: decodeMs,
      prefill_ms: chunkMs(setup, place, prefill.rows),
      busy_ratio: best.itlMs > 0 ? Math.min(1, (best.batching.inFlight * decodeMs) / best.itlMs) : 0,
      weights_bytes: memory.weightsBytes,
      kv_bytes: memory.kvBytes,
      reserve_bytes: memory.reserveBytes,
      memory_bytes: setup.node(place.node).memoryBytes,
      why: reasons[index] ?? "",
    };
  });
}

function describeHops(setup: Setup, best: PlacedValue): ModelPlanHop[] {
  const { places, batching } = best;
  if (places.length === 1) return [];
  return places.map((place, index) => {
    const next = places[index + 1];
    const to = next ?? must(places[0], "stage");
    const link = findLink(setup.cluster, place.node, to.node);
    const bytes = next === undefined ? setup.returnBytes(batching.rows) : setup.activationBytes(batching.rows);
    return {
      from: place.node,
      to: to.node,
      bytes,
      latency_ms: link.latencyMs,
      transfer_ms: bytes / link.bytesPerMs,
    };
  });
}
