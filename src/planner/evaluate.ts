import { NoodleError } from "../common/index.ts";
import type { Problem, ProblemNode } from "./document.ts";

/** A stage as an answer writes it. */
export interface StageRange {
  /** Ids; more than one share the stage's steps. */
  readonly nodes: readonly string[];
  /** Half-open range of units. */
  readonly first: number;
  readonly end: number;
  /** Which of several pipelines the stage belongs to. @default 0 */
  readonly pipeline?: number;
}

/** What a plan breaks: a fact about it, not an error. */
export interface Violation {
  readonly resource: "memory" | "max_units" | "table" | "period" | "replicas";
  readonly node: string | null;
  readonly needed: number;
  readonly limit: number;
  readonly words: string;
}

/** What limits a plan's period. */
export interface Bottleneck {
  readonly kind: "stage" | "hop";
  /** Index of the stage; of the hop's first stage. */
  readonly stage: number;
  readonly ms: number;
}

export interface PlanValue {
  /** Time between two tokens (steps) that leave the cluster when it is kept full. */
  readonly period_ms: number;
  /** Time of one step through all stages and back; the slowest way where there are several. */
  readonly latency_ms: number;
  /** Of each stage, in the order given: time between two steps, its nodes sharing them. */
  readonly stage_ms: readonly number[];
  /** Of each stage: bytes that each of its nodes holds. */
  readonly stage_bytes: readonly number[];
  readonly bottleneck: Bottleneck;
  /** Empty for a plan that can be run. */
  readonly violations: readonly Violation[];
}

const SLACK = 1e-9;
/** Bytes are whole numbers: one too many is too many. */
const MEMORY_SLACK = 1e-12;

/**
 * Values a plan straight from the problem as it is written, by plain sums: it shares no code with the solvers and
 * checks every answer of theirs.
 *
 * @throws PLAN_INVALID when the stages are no plan: unknown or repeated nodes, or units left out or twice
 */
export function evaluatePlan(problem: Problem, stages: readonly StageRange[]): PlanValue {
  const pipelines = groupPipelines(problem, stages);
  const violations: Violation[] = [];
  const stageMs = stages.map((stage) => shareMs(stage.nodes.map((id) => nodeMs(problem, find(problem, id), stage))));
  const stageBytes = stages.map((stage) => countBytes(problem, stage));
  for (const [index, stage] of stages.entries()) {
    for (const id of stage.nodes) violations.push(...checkNode(find(problem, id), stage, stageBytes[index] ?? 0));
  }
  const values = pipelines.map((indexes) => valuePipeline(problem, stages, stageMs, indexes));
  const period = shareMs(values.map((value) => value.bottleneck.ms));
  const worst = values.reduce((a, b) => (b.bottleneck.ms > a.bottleneck.ms ? b : a));
  const cap = problem.max_period_ms;
  if (cap !== undefined && period > cap * (1 + SLACK)) {
    const words = `a period of ${period} ms, ${cap} are allowed`;
    violations.push({ resource: "period", node: null, needed: period, limit: cap, words });
  }
  const copies = pipelines.reduce((sum, indexes) => sum + widest(stages, indexes), 0);
  const replicas = problem.replicas ?? 1;
  if (copies > replicas) {
    const words = `${copies} copies of a unit, ${replicas} are allowed`;
    violations.push({ resource: "replicas", node: null, needed: copies, limit: replicas, words });
  }
  return {
    period_ms: period,
    latency_ms: Math.max(...values.map((value) => value.latencyMs)),
    stage_ms: stageMs,
    stage_bytes: stageBytes,
    bottleneck: worst.bottleneck,
    violations,
  };
}

/** Indexes of the stages of each pipeline, in order. */
function groupPipelines(problem: Problem, stages: readonly StageRange[]): number[][] {
  if (stages.length === 0) throw new NoodleError("PLAN_INVALID", "a plan without stages");
  const pipelines = new Map<number, number[]>();
  const used = new Set<string>();
  for (const [index, stage] of stages.entries()) {
    if (stage.nodes.length === 0) throw new NoodleError("PLAN_INVALID", `stage ${index} has no node`);
    for (const id of stage.nodes) {
      find(problem, id);
      if (used.has(id)) throw new NoodleError("PLAN_INVALID", `node ${id} serves two stages`);
      used.add(id);
    }
    const indexes = pipelines.get(stage.pipeline ?? 0) ?? [];
    const expected = stages[indexes.at(-1) ?? -1]?.end ?? 0;
    if (stage.first !== expected || !(stage.end > stage.first)) {
      throw new NoodleError("PLAN_INVALID", `stage ${index} is ${stage.first}:${stage.end}; ${expected} is next`);
    }
    indexes.push(index);
    pipelines.set(stage.pipeline ?? 0, indexes);
  }
  for (const indexes of pipelines.values()) {
    const end = stages[indexes.at(-1) ?? -1]?.end;
    if (end !== problem.units) {
      throw new NoodleError("PLAN_INVALID", `the stages end at unit ${end}; the problem has ${problem.units}`);
    }
  }
  return [...pipelines.values()];
}

function valuePipeline(
  problem: Problem,
  stages: readonly StageRange[],
  stageMs: readonly number[],
  indexes: readonly number[],
): { bottleneck: Bottleneck; latencyMs: number } {
  let bottleneck: Bottleneck = { kind: "stage", stage: indexes[0] ?? 0, ms: -1 };
  let latencyMs = 0;
  for (const [place, index] of indexes.entries()) {
    const stage = stages[index];
    if (stage === undefined) continue;
    const ms = stageMs[index] ?? Number.NaN;
    if (ms > bottleneck.ms) bottleneck = { kind: "stage", stage: index, ms };
    latencyMs += Math.max(...stage.nodes.map((id) => nodeMs(problem, find(problem, id), stage)));
    const next = stages[indexes[place + 1] ?? -1];
    if (next !== undefined) {
      const occupyMs = worstLink(stage, next, (from, to) => problem.activation_bytes / link(problem, from, to).rate);
      if (occupyMs > bottleneck.ms) bottleneck = { kind: "hop", stage: index, ms: occupyMs };
      latencyMs += worstLink(stage, next, (from, to) => transferMs(problem, from, to, problem.activation_bytes));
    } else if (place > 0 && problem.return_bytes !== undefined) {
      const returned = problem.return_bytes;
      const head = stages[indexes[0] ?? -1] ?? stage;
      latencyMs += worstLink(stage, head, (from, to) => transferMs(problem, from, to, returned));
    }
  }
  return { bottleneck, latencyMs };
}

/** Throughputs add: the time between two steps when several serve, each taking what it can. */
export function shareMs(times: readonly number[]): number {
  if (times.length === 1) return times[0] ?? 0;
  if (times.some((ms) => ms === 0)) return 0;
  return 1 / times.reduce((rate, ms) => rate + 1 / ms, 0);
}

function nodeMs(problem: Problem, node: ProblemNode, stage: StageRange): number {
  if (node.unit_ms === undefined) {
    return node.stage_ms_by_count?.[String(stage.end - stage.first)] ?? Number.POSITIVE_INFINITY;
  }
  let sum = node.overhead_ms ?? 0;
  for (let unit = stage.first; unit < stage.end; unit++) sum += node.unit_ms[unit] ?? Number.NaN;
  return problem.units >= stage.end ? sum : Number.NaN;
}

function countBytes(problem: Problem, stage: StageRange): number {
  const tokens = problem.cache_tokens ?? 0;
  const largestOfTie = new Map<readonly number[], number>();
  let sum = 0;
  for (let unit = stage.first; unit < stage.end; unit++) {
    sum += tokens * (problem.kv_bytes_per_token?.[unit] ?? 0);
    const weights = problem.unit_bytes?.[unit] ?? 0;
    const tie = problem.tied_units?.find((group) => group.includes(unit));
    if (tie === undefined) sum += weights;
    else largestOfTie.set(tie, Math.max(largestOfTie.get(tie) ?? 0, weights));
  }
  for (const weights of largestOfTie.values()) sum += weights;
  return sum;
}

function* checkNode(node: ProblemNode, stage: StageRange, bytes: number): Generator<Violation> {
  const count = stage.end - stage.first;
  const range = `units ${stage.first}:${stage.end}`;
  const memory = node.memory_bytes ?? Number.POSITIVE_INFINITY;
  if (bytes > memory * (1 + MEMORY_SLACK)) {
    const words = `${range} need ${bytes} bytes, node ${node.id} has ${memory}`;
    yield { resource: "memory", node: node.id, needed: bytes, limit: memory, words };
  }
  const maxUnits = node.max_units ?? Number.POSITIVE_INFINITY;
  if (count > maxUnits) {
    const words = `${range} are ${count} units, node ${node.id} takes ${maxUnits}`;
    yield { resource: "max_units", node: node.id, needed: count, limit: maxUnits, words };
  }
  const table = node.stage_ms_by_count;
  if (table !== undefined && table[String(count)] === undefined) {
    const limit = Math.max(0, ...Object.keys(table).map(Number));
    const words = `${range} are ${count} units, the table of node ${node.id} has no such count`;
    yield { resource: "table", node: node.id, needed: count, limit, words };
  }
}

function widest(stages: readonly StageRange[], indexes: readonly number[]): number {
  return Math.max(...indexes.map((index) => stages[index]?.nodes.length ?? 0));
}

function worstLink(from: StageRange, to: StageRange, cost: (from: string, to: string) => number): number {
  return Math.max(...from.nodes.flatMap((a) => to.nodes.map((b) => cost(a, b))));
}

function transferMs(problem: Problem, from: string, to: string, bytes: number): number {
  const { latencyMs, rate } = link(problem, from, to);
  return latencyMs + bytes / rate;
}

function link(problem: Problem, from: string, to: string): { latencyMs: number; rate: number } {
  if (problem.links === undefined) return { latencyMs: 0, rate: Number.POSITIVE_INFINITY };
  const found = lookUp(problem).pairs.get(from)?.get(to) ?? problem.links.default;
  return { latencyMs: found.latency_ms, rate: found.bytes_per_ms };
}

function find(problem: Problem, id: string): ProblemNode {
  const node = lookUp(problem).nodes.get(id);
  if (node === undefined) throw new NoodleError("PLAN_INVALID", `there is no node ${id}`);
  return node;
}

type Pair = NonNullable<NonNullable<Problem["links"]>["pairs"]>[number];

interface Index {
  readonly nodes: ReadonlyMap<string, ProblemNode>;
  readonly pairs: ReadonlyMap<string, ReadonlyMap<string, Pair>>;
}

const INDEXES = new WeakMap<Problem, Index>();

function lookUp(problem: Problem): Index {
  const known = INDEXES.get(problem);
  if (known !== undefined) return known;
  const pairs = new Map<string, Map<string, Pair>>();
  for (const pair of problem.links?.pairs ?? []) {
    const row = pairs.get(pair.from) ?? new Map<string, Pair>();
    pairs.set(pair.from, row.set(pair.to, pair));
  }
  const index = { nodes: new Map(problem.nodes.map((node) => [node.id, node])), pairs };
  INDEXES.set(problem, index);
  return index;
}
