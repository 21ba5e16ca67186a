import type { Deadline } from "../deadline.ts";
import type { Draft, DraftStage } from "../draft.ts";
import type { Instance } from "../instance.ts";

/** A plan with both of its figures. */
export interface ReplicaPlan {
  readonly draft: Draft;
  readonly periodMs: number;
  readonly latencyMs: number;
  /** Nodes used. */
  readonly nodes: number;
}

export interface ReplicaGoal {
  /** Keep all trade-offs of period and latency, or the least period alone. */
  readonly both: boolean;
  readonly deadline: Deadline;
}

/** A beginning of a pipeline: units [0, end) served by some nodes, the last of them by those of `stage`. */
interface Label {
  readonly periodMs: number;
  readonly latencyMs: number;
  readonly first: number;
  readonly end: number;
  /** Nodes of this stage, as bits. */
  readonly stage: number;
  /** Nodes of the first stage: the way back goes to them. */
  readonly head: number;
  readonly before: Label | null;
}

const NODES_MAX = 14;
/** Stages looked at: more take longer than a plan may. */
const WORK_MAX_PERIOD = 2e8;
const WORK_MAX_BOTH = 2e7;

/** Whether every plan of several nodes for a stage and of several pipelines can be looked at. */
export function canSolveReplicas(instance: Instance, both: boolean): boolean {
  const count = instance.nodes.length;
  if (count > NODES_MAX) return false;
  const widest = Math.min(instance.replicas, count);
  let steps = 0;
  for (let last = 1; last <= widest; last++) {
    for (let next = 1; next <= Math.min(widest, count - last); next++) {
      steps += choose(count, last) * choose(count - last, next) * 2 ** (count - last - next);
    }
  }
  return (steps * widest * instance.units ** 2) / 2 <= (both ? WORK_MAX_BOTH : WORK_MAX_PERIOD);
}

function choose(n: number, k: number): number {
  return k === 0 ? 1 : (choose(n - 1, k - 1) * n) / k;
}

/**
 * All plans that are best for some set of nodes: stages of up to R nodes, up to R pipelines, the widest stages of which
 * add up to at most R. Exact: over sets of used nodes, the set that serves the last stage, and the prefix of units.
 *
 * @returns plans of which none with as few nodes is better; unordered
 * @throws TimeIsUp
 */
export function solveReplicas(instance: Instance, goal: ReplicaGoal): ReplicaPlan[] {
  const size = 2 ** instance.nodes.length;
  const replicas = Math.min(instance.replicas, instance.nodes.length);
  // byWidth[r][set]: pipelines that use exactly the nodes of the set, with stages of at most r nodes.
  const byWidth: (readonly Pipelines[])[][] = [[]];
  for (let width = 1; width <= replicas; width++) byWidth.push(new PipelineSearch(instance, width, goal).run());
  // best[c][set]: pipelines side by side, their widths at most c in total.
  const best: Pipelines[][][] = [];
  for (let copies = 0; copies <= replicas; copies++) {
    const row: Pipelines[][] = Array.from({ length: size }, () => []);
    best.push(row);
    for (let set = copies > 0 ? 1 : size; set < size; set++) {
      goal.deadline.check();
      const kept: Pipelines[] = [];
      for (const alone of byWidth[copies]?.[set] ?? []) keep(kept, alone, goal.both);
      const lowest = set & -set;
      for (let part = (set - 1) & set; part > 0; part = (part - 1) & set) {
        if ((part & lowest) === 0) continue;
        for (let width = 1; width < copies; width++) {
          for (const a of byWidth[width]?.[part] ?? []) {
            for (const b of best[copies - width]?.[set ^ part] ?? []) keep(kept, join(a, b), goal.both);
          }
        }
      }
      row[set] = kept;
    }
  }
  return (best[replicas] ?? []).flatMap((plans, set) =>
    plans.map((plan) => ({
      draft: plan.ends.flatMap((end, pipeline) => listStages(end, pipeline)),
      periodMs: plan.periodMs,
      latencyMs: plan.latencyMs,
      nodes: countBits(set),
    })),
  );
}

/** Pipelines side by side. */
interface Pipelines {
  readonly periodMs: number;
  readonly latencyMs: number;
  readonly ends: readonly Label[];
}

function join(a: Pipelines, b: Pipelines): Pipelines {
  return {
    periodMs: shareOf([a.periodMs, b.periodMs]),
    latencyMs: Math.max(a.latencyMs, b.latencyMs),
    ends: [...a.ends, ...b.ends],
  };
}

class PipelineSearch {
  readonly #instance: Instance;
  readonly #width: number;
  readonly #goal: ReplicaGoal;
  readonly #size: number;
  /** Whether the nodes of the first stage change what follows. */
  readonly #headMatters: boolean;
  readonly #times = new Map<number, StageTimes>();
  readonly #hops = new Map<number, { readonly occupyMs: number; readonly hopMs: number }>();

  constructor(instance: Instance, width: number, goal: ReplicaGoal) {
    this.#instance = instance;
    this.#width = width;
    this.#goal = goal;
    this.#size = 2 ** instance.nodes.length;
    this.#headMatters = goal.both && instance.problem.return_bytes !== undefined && !instance.uniformLinks;
  }

  run(): Pipelines[][] {
    const { units } = this.#instance;
    // labels[set][last][prefix]
    const labels: Map<number, Label[][]>[] = Array.from({ length: this.#size }, () => new Map());
    const finished: Pipelines[][] = Array.from({ length: this.#size }, () => []);
    for (let set = 0; set < this.#size; set++) {
      this.#goal.deadline.check();
      const rest = this.#size - 1 - set;
      for (let stage = rest; stage > 0; stage = (stage - 1) & rest) {
        if (countBits(stage) > this.#width) continue;
        const to = set | stage;
        const target = labels[to] as Map<number, Label[][]>;
        const row = target.get(stage) ?? Array.from({ length: units + 1 }, () => []);
        target.set(stage, row);
        const add = (label: Label): void => {
          if (label.end < units) insert(row[label.end] as Label[], label, this.#goal.both, this.#headMatters);
          else keep(finished[to] as Pipelines[], this.#finish(label), this.#goal.both);
        };
        if (set === 0) this.#extend(null, stage, add);
        for (const prefixes of (labels[set] as Map<number, Label[][]>).values()) {
          for (const list of prefixes) for (const label of list) this.#extend(label, stage, add);
        }
      }
      labels[set]?.clear();
    }
    return finished;
  }

  #extend(label: Label | null, stage: number, add: (label: Label) => void): void {
    const { units } = this.#instance;
    const first = label?.end ?? 0;
    const { shareMs, worstMs, lastEnds } = this.#timesOf(stage);
    const hop = label === null ? NO_HOP : this.#hopOf(label.stage, stage);
    const before = Math.max(label?.periodMs ?? 0, hop.occupyMs);
    for (let end = first + 1; end <= (lastEnds[first] as number); end++) {
      const at = first * (units + 1) + end;
      const periodMs = Math.max(before, shareMs[at] as number);
      if (periodMs === Number.POSITIVE_INFINITY) continue;
      const latencyMs = (label?.latencyMs ?? 0) + hop.hopMs + (worstMs[at] as number);
      add({ periodMs, latencyMs, first, end, stage, head: label?.head ?? stage, before: label });
    }
  }

  #timesOf(stage: number): StageTimes {
    const known = this.#times.get(stage);
    if (known !== undefined) return known;
    const times = listTimes(this.#instance, bitsOf(stage));
    this.#times.set(stage, times);
    return times;
  }

  #hopOf(from: number, to: number): { readonly occupyMs: number; readonly hopMs: number } {
    const key = from * this.#size + to;
    const known = this.#hops.get(key);
    if (known !== undefined) return known;
    const hop = this.#worstHop(bitsOf(from), bitsOf(to));
    this.#hops.set(key, hop);
    return hop;
  }

  #finish(label: Label): Pipelines {
    const backMs = label.before === null ? 0 : this.#worstReturn(bitsOf(label.stage), bitsOf(label.head));
    return { periodMs: label.periodMs, latencyMs: label.latencyMs + backMs, ends: [label] };
  }

  #worstHop(from: readonly number[], to: readonly number[]): { occupyMs: number; hopMs: number } {
    let [occupyMs, hopMs] = [0, 0];
    for (const a of from) {
      for (const b of to) {
        occupyMs = Math.max(occupyMs, this.#instance.occupyMs(a, b));
        hopMs = Math.max(hopMs, this.#instance.hopMs(a, b));
      }
    }
    return { occupyMs, hopMs };
  }

  #worstReturn(from: readonly number[], to: readonly number[]): number {
    return Math.max(...from.flatMap((a) => to.map((b) => this.#instance.returnMs(a, b))));
  }
}

const NO_HOP = { occupyMs: 0, hopMs: 0 };

/** Of some nodes that serve a stage together; by first * (units + 1) + end, infinite where one of them can't. */
interface StageTimes {
  readonly shareMs: Float64Array;
  readonly worstMs: Float64Array;
  /** Of each first unit, the last end that all can serve. */
  readonly lastEnds: Int16Array;
}

function listTimes(instance: Instance, nodes: readonly number[]): StageTimes {
  const { units } = instance;
  const shareMs = new Float64Array((units + 1) ** 2).fill(Number.POSITIVE_INFINITY);
  const worstMs = new Float64Array((units + 1) ** 2).fill(Number.POSITIVE_INFINITY);
  const lastEnds = new Int16Array(units + 1);
  for (let first = 0; first < units; first++) {
    for (let end = first + 1; end <= units; end++) {
      if (nodes.some((node) => !instance.fits(node, first, end))) continue;
      const times = nodes.map((node) => instance.stageMs(node, first, end));
      shareMs[first * (units + 1) + end] = shareOf(times);
      worstMs[first * (units + 1) + end] = Math.max(...times);
      lastEnds[first] = end;
    }
  }
  return { shareMs, worstMs, lastEnds };
}

/** Throughputs add. */
function shareOf(times: readonly number[]): number {
  if (times.length === 1) return times[0] as number;
  return times.includes(0) ? 0 : 1 / times.reduce((rate, ms) => rate + 1 / ms, 0);
}

/** Keeps what nothing else in the list beats. */
function insert(list: Label[], label: Label, both: boolean, headMatters: boolean): void {
  const beats = (a: Label, b: Label): boolean =>
    a.periodMs <= b.periodMs && (!both || a.latencyMs <= b.latencyMs) && (!headMatters || a.head === b.head);
  if (list.some((other) => beats(other, label))) return;
  for (let i = list.length - 1; i >= 0; i--) if (beats(label, list[i] as Label)) list.splice(i, 1);
  list.push(label);
}

function keep(list: Pipelines[], plan: Pipelines, both: boolean): void {
  const beats = (a: Pipelines, b: Pipelines): boolean =>
    a.periodMs <= b.periodMs && (!both || a.latencyMs <= b.latencyMs);
  if (list.some((other) => beats(other, plan))) return;
  for (let i = list.length - 1; i >= 0; i--) if (beats(plan, list[i] as Pipelines)) list.splice(i, 1);
  list.push(plan);
}

function listStages(end: Label, pipeline: number): DraftStage[] {
  const stages: DraftStage[] = [];
  for (let at: Label | null = end; at !== null; at = at.before) {
    stages.unshift({ nodes: bitsOf(at.stage), first: at.first, end: at.end, pipeline });
  }
  return stages;
}

function bitsOf(set: number): number[] {
  const bits: number[] = [];
  for (let bit = 0; set >>> bit > 0; bit++) if ((set >>> bit) & 1) bits.push(bit);
  return bits;
}

function countBits(set: number): number {
  let count = 0;
  for (let left = set; left > 0; left &= left - 1) count += 1;
  return count;
}
