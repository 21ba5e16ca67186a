import { sayBytes } from "../profile/index.ts";
import type { ModelPlan, ModelPlanBaseline } from "./plan-types.ts";
import { sayMs, sayNumber, sayShare } from "./quantities.ts";

const NAMED_MAX = 8;
/** What the algorithm's name of another system's plan begins with. */
const RULE = "baseline ";

/** A plan in sentences: what, why each cut, what binds, what comes next, what a machine alone or one more would do. */
export function describeModelPlan(plan: ModelPlan): string[] {
  if (!plan.feasible || plan.predicted === null) return describeNone(plan);
  return [
    describeHead(plan),
    ...plan.stages.map((stage) => {
      const memory = stage.weights_bytes + stage.kv_bytes + stage.reserve_bytes;
      const room =
        stage.memory_bytes === null ? sayBytes(memory) : `${sayBytes(memory)} of ${sayBytes(stage.memory_bytes)}`;
      return `  ${stage.node}: units ${stage.units}, ${sayMs(stage.decode_ms)} for each micro-batch, busy ${sayShare(stage.busy_ratio)}, ${room}; ${stage.why}.`;
    }),
    describeBatching(plan),
    `What binds: ${plan.predicted.bottleneck.words}.`,
    ...describeAlone(plan),
    ...describeAlternatives(plan),
    ...describeLeftOut(plan),
    ...describeGrowth(plan),
    ...describeBaselines(plan),
    ...plan.notes.map((note) => `Note: ${note}.`),
  ];
}

function describeNone(plan: ModelPlan): string[] {
  const because = plan.infeasible_because;
  return [
    "There is no plan.",
    ...(because === undefined
      ? []
      : [`${because.words}.`, ...because.remedies.map((remedy) => `It would do to have: ${remedy}.`)]),
    ...plan.notes.map((note) => `Note: ${note}.`),
  ];
}

function describeHead(plan: ModelPlan): string {
  const { predicted, workload, order, alone } = plan;
  if (predicted === null) return "";
  const streams = workload.streams === 1 ? "one stream" : `${workload.streams} streams`;
  const single = workload.streams === 1 ? "" : ` (${sayMs(predicted.single_itl_ms)} for one stream alone)`;
  const figures = `${sayNumber(predicted.tokens_per_s)} tokens/s for ${streams}, ${sayMs(predicted.itl_ms)} from token to token${single}, the first token of a prompt of ${workload.prompt_tokens} after ${sayMs(predicted.ttft_ms)}`;
  const quality = describeQuality(plan);
  if (order.length === 1) {
    const name = order[0] ?? "";
    const why =
      alone.length === 1
        ? ""
        : plan.objective === "fewest_nodes"
          ? " A machine alone is enough; this objective does not ask for more tokens/s."
          : plan.bound?.proven === true
            ? " A machine alone is best here: every cut makes it slower, or no better."
            : " A machine alone is best here: no plan of several that was found is better.";
    return `${name} alone: ${figures}; ${quality}.${why}`;
  }
  return `${order.length} stages on ${order.length} of ${alone.length} nodes: ${figures}; ${quality}.`;
}

function describeQuality({ bound, objective, time_limit_hit, algorithm }: ModelPlan): string {
  if (bound === null) return "";
  const what = {
    throughput: "more tokens/s",
    pareto: "more tokens/s",
    latency: "less latency",
    fewest_nodes: "fewer nodes",
  }[objective];
  if (bound.proven) return `proven: no plan gives ${what}`;
  const late = time_limit_hit ? ", stopped by the time limit" : "";
  const rule = algorithm.startsWith(RULE) ? ` (the rule of ${algorithm.slice(RULE.length)})` : "";
  if (bound.gap === null) return `not proven${late}${rule}`;
  return `at most ${sayShare(bound.gap)} from the best possible${late}${rule}`;
}

function describeBatching({ policy, candidates, workload }: ModelPlan): string {
  if (policy === null) return "";
  const count = policy.decode_in_flight;
  const pads = policy.align > 1 ? `, in whole blocks of ${policy.align} rows` : "";
  const line = `Micro-batches of ${policy.max_decode_rows} row${policy.max_decode_rows === 1 ? "" : "s"}, ${count} in flight${pads}; prompts in chunks of ${policy.prefill_rows}, of ${policy.mixed_prefill_rows} while others decode.`;
  if (workload.streams === 1) return line;
  const others = candidates
    .filter((one) => one.rows !== policy.max_decode_rows && one.tokens_per_s !== null)
    .slice(0, 3)
    .map((one) => `${one.rows} x ${one.in_flight}: ${sayNumber(one.tokens_per_s ?? 0)}`);
  return others.length === 0 ? line : `${line} The same cuts with other sizes, in tokens/s: ${others.join(", ")}.`;
}

/** The comparison that a cluster has to win. */
function describeAlone({ alone, order, predicted, algorithm }: ModelPlan): string[] {
  if (predicted === null) return [];
  const best = alone.find((node) => node.fits);
  const tight = alone.filter((node) => !node.fits);
  const lacking = tight
    .slice(0, NAMED_MAX)
    .map((node) => `${node.node} lacks ${sayBytes(node.short_bytes)}`)
    .join(", ");
  if (best === undefined) return [`No machine holds the whole model alone: ${lacking}.`];
  const lines: string[] = [];
  if (order.length > 1 && best.tokens_per_s !== null && best.tokens_per_s > 0) {
    const ratio = predicted.tokens_per_s / best.tokens_per_s;
    const why = algorithm.startsWith(RULE) ? "the rule does not compare" : "the plan is for another goal";
    const words = ratio >= 1 ? `${sayNumber(ratio)} times that` : `only ${sayNumber(ratio)} of that; ${why}`;
    lines.push(
      `The best machine alone, ${best.node}, gives ${sayNumber(best.tokens_per_s)} tokens/s; this plan ${words}.`,
    );
  }
  if (tight.length > 0) lines.push(`Too small for the whole model: ${lacking}.`);
  return lines;
}

function describeAlternatives({ alternatives, objective }: ModelPlan): string[] {
  if (objective === "pareto") {
    const points = alternatives.map(
      (plan) =>
        `${sayNumber(plan.tokens_per_s)} tokens/s with ${sayMs(plan.single_itl_ms)} for one stream alone (${sayStages(plan)})`,
    );
    return points.length === 0 ? [] : [`Other trade-offs: ${points.slice(0, NAMED_MAX).join("; ")}.`];
  }
  const [second] = alternatives;
  if (second === undefined) return [];
  const title = second.what.startsWith("the best of several") ? "For comparison" : "Second best nearby";
  return [
    `${title}: ${second.what} (${sayStages(second)}), ${sayNumber(second.tokens_per_s)} tokens/s, ${sayMs(second.itl_ms)} from token to token (${sayMs(second.single_itl_ms)} for one stream alone).`,
  ];
}

function sayStages({ split, order }: { readonly split: string; readonly order: readonly string[] }): string {
  return split
    .split(",")
    .map((units, index) => `${order[index] ?? ""} ${units}`)
    .join(", ");
}

function describeLeftOut({ left_out }: ModelPlan): string[] {
  const lines = left_out.slice(0, NAMED_MAX).map(({ node, words }) => `Left out: ${node}; ${words}.`);
  const more = left_out.length - NAMED_MAX;
  return more > 0 ? [...lines, `Left out: ${more} more.`] : lines;
}

function describeGrowth({ growth = [], objective }: ModelPlan): string[] {
  return growth.slice(0, 3).map(({ like, better_by, tokens_per_s, itl_ms, nodes }) => {
    if (better_by <= 1 + 1e-9) return `One more machine like ${like} would bring nothing.`;
    const what =
      objective === "latency"
        ? "less latency of one stream"
        : objective === "fewest_nodes"
          ? "fewer nodes"
          : "more tokens/s";
    const share = objective === "latency" || objective === "fewest_nodes" ? 1 - 1 / better_by : better_by - 1;
    return `One more machine like ${like} would bring ${sayShare(share)} ${what}: ${sayNumber(tokens_per_s)} tokens/s and ${sayMs(itl_ms)} on ${nodes} nodes.`;
  });
}

function describeBaselines({ baselines }: ModelPlan): string[] {
  if (baselines === undefined) return [];
  const runnable = baselines.filter(
    (row): row is ModelPlanBaseline & { ours_better_by: number } => row.ours_better_by !== null,
  );
  const best = runnable.reduce<(typeof runnable)[number] | null>(
    (a, b) => (a === null || b.ours_better_by < a.ours_better_by ? b : a),
    null,
  );
  if (best === null) return ["None of the other rules gives a plan that can be run."];
  const better =
    best.ours_better_by > 1 + 1e-6
      ? `${sayShare(best.ours_better_by - 1)} better than`
      : best.ours_better_by < 1 - 1e-6
        ? `${sayShare(1 - best.ours_better_by)} behind`
        : "as good as";
  return [
    `Of ${baselines.length} other rules ${runnable.length} give a plan that can be run; this one is ${better} the best of them, ${best.name}.`,
  ];
}
