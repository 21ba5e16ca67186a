import type { Problem } from "./document.ts";
import type { Growth } from "./growth.ts";
import { Instance } from "./instance.ts";
import type { PlanAlternative, PlanDocument, PlanStage } from "./plan-document.ts";
import { sayBytes } from "../profile/index.ts";
import { formatMs } from "./quantities.ts";

/** What an answer says, in sentences: the plan, why each cut is where it is, what binds, what comes next. */
export function describePlan(problem: Problem, answer: PlanDocument, growth: readonly Growth[] = []): string[] {
  if (!answer.feasible) return describeNone(answer);
  return [
    describeHead(problem, answer),
    ...answer.stages.map((stage, index) => describeStage(problem, answer, stage, index)),
    ...describeBinding(answer),
    ...describeUnused(problem, answer),
    ...describeAlternatives(answer),
    ...growth.slice(0, 3).map((more) => describeGrowth(answer, more)),
  ];
}

function describeNone(answer: PlanDocument): string[] {
  const because = answer.infeasible_because;
  const head = answer.proven ? "There is no plan." : "No plan was found; that there is none is not proven.";
  if (because === undefined) return [head];
  const remedies = because.remedies.map((remedy) => `It would do to have: ${remedy.words}.`);
  return [head, `${because.words}.`, ...remedies];
}

function describeHead(problem: Problem, answer: PlanDocument): string {
  const figures = `${formatMs(answer.period_ms ?? 0)} from token to token, ${formatMs(answer.latency_ms ?? 0)} for one to pass`;
  const quality = describeQuality(answer);
  if (answer.nodes === 1) {
    const alone = `Node ${answer.stages[0]?.nodes[0]} alone: ${figures}; ${quality}.`;
    return problem.nodes.length === 1 ? alone : `${alone} More nodes bring nothing here.`;
  }
  const pipelines = 1 + Math.max(...answer.stages.map((stage) => stage.pipeline ?? 0));
  const shape =
    pipelines > 1 ? `${pipelines} pipelines, ${answer.stages.length} stages` : `${answer.stages.length} stages`;
  return `${shape} on ${answer.nodes} of ${problem.nodes.length} nodes: ${figures}; ${quality}.`;
}

function describeQuality(answer: PlanDocument): string {
  const goal = { period: "period", latency: "latency", pareto: "front", fewest_nodes: "number of nodes" }[
    answer.objective
  ];
  if (answer.proven) return `proven: no better ${goal} exists`;
  const late = answer.time_limit_hit ? ", stopped by the time limit" : "";
  if (answer.gap === null) return `not proven${late}`;
  return `the ${goal} is at most ${formatRatio(answer.gap)} from the best possible${late}`;
}

/** Why the stage does not take the next unit, or the one before it. */
function describeStage(problem: Problem, answer: PlanDocument, stage: PlanStage, index: number): string {
  const name = stage.nodes.join(" + ");
  const memory = problem.nodes.find((node) => node.id === stage.nodes[0])?.memory_bytes;
  const room = memory === undefined ? "" : `, ${sayBytes(stage.bytes)} of ${sayBytes(memory)}`;
  const line = `  ${name}: units ${stage.first}:${stage.end}, ${formatMs(stage.ms)}${room}`;
  const next = answer.stages[index + 1];
  if (next === undefined || stage.nodes.length > 1 || (next.pipeline ?? 0) !== (stage.pipeline ?? 0)) return line;
  return `${line}; ${explainCut(problem, answer, stage, next)}`;
}

function explainCut(problem: Problem, answer: PlanDocument, stage: PlanStage, next: PlanStage): string {
  const instance = new Instance(problem);
  const node = problem.nodes.findIndex((candidate) => candidate.id === stage.nodes[0]);
  const { memoryBytes, maxUnits } = instance.node(node);
  const end = stage.end + 1;
  if (end - stage.first > maxUnits) return `more than ${maxUnits} units it does not take`;
  if (instance.stageBytes(stage.first, end) > memoryBytes) return "for one unit more its memory is too small";
  const ms = instance.stageMs(node, stage.first, end);
  if (!Number.isFinite(ms)) return `for ${end - stage.first} units its table has no time`;
  if (answer.objective !== "latency" && ms > (answer.period_ms ?? 0)) {
    return `with one unit more it would take ${formatMs(ms)} and be the slowest`;
  }
  const other = problem.nodes.findIndex((candidate) => candidate.id === next.nodes[0]);
  const gain = ms - stage.ms;
  const loss = next.ms - instance.stageMs(other, end, next.end);
  if (next.end > end && gain > loss)
    return `unit ${stage.end} costs ${formatMs(gain)} here and ${formatMs(loss)} on ${next.nodes[0]}`;
  // What is not proven may well be improved by a step.
  return answer.proven ? "a cut one unit later is no better" : "the search left the cut here";
}

function describeBinding(answer: PlanDocument): string[] {
  const { bottleneck } = answer;
  if (bottleneck === null || answer.nodes === 1) return [];
  const stage = answer.stages[bottleneck.stage];
  const next = answer.stages[bottleneck.stage + 1];
  const what =
    bottleneck.kind === "stage"
      ? `the stage of ${stage?.nodes.join(" + ")}`
      : `the link from ${stage?.nodes.join(" + ")} to ${next?.nodes.join(" + ")}`;
  return [`What binds: ${what}, ${formatMs(bottleneck.ms)} for each token.`];
}

const NAMED_MAX = 8;

function describeUnused(problem: Problem, answer: PlanDocument): string[] {
  const used = new Set(answer.stages.flatMap((stage) => stage.nodes));
  const unused = problem.nodes.map((node) => node.id).filter((id) => !used.has(id));
  if (unused.length === 0) return [];
  const names = unused.slice(0, NAMED_MAX).join(", ");
  const more = unused.length > NAMED_MAX ? ` and ${unused.length - NAMED_MAX} more` : "";
  return [`Left out, since the plan is no better with them: ${names}${more}.`];
}

function describeAlternatives(answer: PlanDocument): string[] {
  const [second] = answer.alternatives;
  if (answer.objective === "pareto") {
    const points = answer.alternatives.map((plan) => `${formatMs(plan.period_ms)} and ${formatMs(plan.latency_ms)}`);
    return points.length === 0
      ? []
      : [`Other trade-offs of period and latency: ${points.slice(0, NAMED_MAX).join("; ")}.`];
  }
  const lines = second === undefined ? [] : [`Second best nearby: ${describeAlternative(second)}.`];
  const alone = answer.alternatives.find((plan) => plan.what === "one node alone");
  if (alone !== undefined && alone !== second) {
    lines.push(`One node alone: ${describeAlternative(alone)}.`);
  }
  return lines;
}

function describeAlternative(plan: PlanAlternative): string {
  const nodes = plan.stages.map((stage) => `${stage.nodes.join("+")} ${stage.first}:${stage.end}`).join(", ");
  return `${plan.what} (${nodes}), ${formatMs(plan.period_ms)} and ${formatMs(plan.latency_ms)}`;
}

function describeGrowth(answer: PlanDocument, more: Growth): string {
  const change =
    more.ratio < 1 - 1e-9
      ? `${formatRatio(1 - more.ratio)} ${answer.objective === "latency" ? "less latency" : answer.objective === "fewest_nodes" ? "fewer nodes" : "less time from token to token"}`
      : "nothing";
  return `One more node like ${more.like} would bring ${change}: ${formatMs(more.period_ms)} and ${formatMs(more.latency_ms)}.`;
}

function formatRatio(ratio: number): string {
  return `${Number((ratio * 100).toPrecision(3))}%`;
}
