import type { Deadline } from "../deadline.ts";
import type { Problem, ProblemNode } from "../document.ts";
import { Instance } from "../instance.ts";
import { groupKinds } from "../kinds.ts";
import type { Infeasibility, Remedy } from "../plan-document.ts";
import type { SolveContext } from "../solve/context.ts";
import { countFewest } from "../solve/fewest.ts";
import { addTwin } from "../twin.ts";
import { findGaps } from "./gaps.ts";
import { sayBytes } from "../../profile/index.ts";
import { formatMs } from "../quantities.ts";

/** Finding out what would help may take this long. */
const LIMIT_MS = 2_000;
/** Nodes of which the least change is looked for, where each look is dear. */
const NODES_TRIED = 6;
const REMEDIES_KEPT = 6;

/** What is short when a problem has no plan, and the least that would help: each remedy alone. */
export async function explainInfeasible(
  context: SolveContext,
  leastPeriodMs: () => Promise<number | null>,
): Promise<Infeasibility> {
  const { problem } = context.kinds.instance;
  const explainer = new Explainer(context);
  const { max_period_ms: capMs, ...uncapped } = problem;
  if (capMs !== undefined && (await explainer.isFeasible(uncapped))) return explainPeriod(capMs, await leastPeriodMs());
  const roomy = withNodes(uncapped, (node) => without(node, "memory_bytes"));
  if (await explainer.isFeasible(roomy)) return await explainer.explainMemory(uncapped);
  const unlimited = withNodes(roomy, (node) => without(node, "max_units"));
  if (await explainer.isFeasible(unlimited)) return await explainer.explainMaxUnits(uncapped);
  const words = `table: no choice of counts from the tables adds up to ${problem.units} units`;
  return { resource: "table", short_by: null, words, remedies: await explainer.tryTwins(uncapped) };
}

function explainPeriod(capMs: number, leastMs: number | null): Infeasibility {
  if (leastMs === null) {
    const words = `period: no plan within max_period_ms ${formatMs(capMs)} was found`;
    return { resource: "period", short_by: null, words, remedies: [] };
  }
  const least = `max_period_ms >= ${formatMs(leastMs)}`;
  return {
    resource: "period",
    short_by: leastMs - capMs,
    words: `period: the quickest plan takes ${formatMs(leastMs)}, ${formatMs(leastMs - capMs)} too long; the least: ${least}`,
    remedies: [{ field: "max_period_ms", node: null, from: capMs, to: leastMs, words: least }],
  };
}

class Explainer {
  readonly #context: SolveContext;
  readonly #deadline: Deadline;

  constructor(context: SolveContext) {
    this.#context = context;
    this.#deadline = context.deadline.extended(LIMIT_MS);
  }

  async isFeasible(problem: Problem): Promise<boolean> {
    const instance = new Instance(problem);
    const context = { ...this.#context, deadline: this.#deadline, kinds: groupKinds(instance) };
    return (await countFewest(context, instance.capMs)).pieces !== null;
  }

  async explainMemory(problem: Problem): Promise<Infeasibility> {
    const instance = new Instance(problem);
    const kinds = groupKinds(instance);
    const remedies: Remedy[] = [];
    const gaps = findGaps(kinds);
    for (const { kind, bytes } of gaps ?? []) {
      remedies.push(moreMemory(problem.nodes[kinds.node(kind)] as ProblemNode, bytes));
    }
    if (gaps === null) remedies.push(...(await this.#tryMemories(problem, instance)));
    remedies.sort((a, b) => a.to - a.from - (b.to - b.from));
    const shortBytes = remedies[0] === undefined ? null : remedies[0].to - remedies[0].from;
    remedies.length = Math.min(remedies.length, REMEDIES_KEPT);
    const tokens = await this.#tryTokens(problem);
    if (tokens !== null) remedies.push(tokens);
    remedies.push(...(await this.tryTwins(problem)));
    const totalBytes = instance.stageBytes(0, problem.units);
    const availableBytes = problem.nodes.reduce((sum, node) => sum + (node.memory_bytes ?? 0), 0);
    const short = shortBytes ?? (totalBytes > availableBytes ? totalBytes - availableBytes : null);
    const head =
      short === null
        ? `memory: ${sayBytes(totalBytes)} do not fit ${sayBytes(availableBytes)} as they are shared out`
        : `memory: ${sayBytes(short)} short`;
    return { resource: "memory", short_by: short, words: joinWords(head, remedies), remedies };
  }

  async explainMaxUnits(problem: Problem): Promise<Infeasibility> {
    const remedies: Remedy[] = [];
    for (const node of problem.nodes) {
      if (node.max_units === undefined || remedies.length >= NODES_TRIED || this.#deadline.passed) continue;
      const from = node.max_units;
      const to = await this.#leastOf(problem.units - from, async (more) => {
        return await this.isFeasible(changeNode(problem, node.id, { max_units: from + more }));
      });
      if (to === null) continue;
      const words = `max_units ${from + to} on node ${node.id}`;
      remedies.push({ field: "max_units", node: node.id, from, to: from + to, words });
    }
    remedies.sort((a, b) => a.to - a.from - (b.to - b.from));
    const short = remedies[0] === undefined ? null : remedies[0].to - remedies[0].from;
    remedies.push(...(await this.tryTwins(problem)));
    const head = `max_units: the nodes do not take ${problem.units} units between them`;
    return { resource: "max_units", short_by: short, words: joinWords(head, remedies), remedies };
  }

  /** Would one more node like one of those there are do? */
  async tryTwins(problem: Problem): Promise<Remedy[]> {
    const kinds = groupKinds(new Instance(problem));
    const remedies: Remedy[] = [];
    const largest = [...kinds.members.keys()]
      .map((kind) => problem.nodes[kinds.node(kind)] as ProblemNode)
      .sort((a, b) => (b.memory_bytes ?? 0) - (a.memory_bytes ?? 0))
      .slice(0, 2);
    for (const node of largest) {
      if (this.#deadline.passed || !(await this.isFeasible(addTwin(problem, node.id)))) continue;
      const words = `one more node like ${node.id}`;
      remedies.push({ field: "nodes", node: node.id, from: problem.nodes.length, to: problem.nodes.length + 1, words });
    }
    return remedies;
  }

  /** Where the exact way is too long: the largest nodes, by trying. */
  async #tryMemories(problem: Problem, instance: Instance): Promise<Remedy[]> {
    const totalBytes = instance.stageBytes(0, problem.units);
    const largest = [...problem.nodes]
      .filter((node) => node.memory_bytes !== undefined)
      .sort((a, b) => (b.memory_bytes ?? 0) - (a.memory_bytes ?? 0))
      .slice(0, NODES_TRIED);
    const remedies: Remedy[] = [];
    for (const node of largest) {
      if (this.#deadline.passed) break;
      const from = node.memory_bytes ?? 0;
      const more = await this.#leastOf(Math.ceil(Math.max(0, totalBytes - from)), async (bytes) => {
        return await this.isFeasible(changeNode(problem, node.id, { memory_bytes: from + bytes }));
      });
      if (more !== null) remedies.push(moreMemory(node, from + more));
    }
    return remedies;
  }

  async #tryTokens(problem: Problem): Promise<Remedy | null> {
    const from = problem.cache_tokens ?? 0;
    if (from < 1 || problem.kv_bytes_per_token === undefined) return null;
    const whole = Math.ceil(from);
    const fewer = await this.#leastOf(whole, async (less) => {
      return await this.isFeasible({ ...problem, cache_tokens: whole - less });
    });
    if (fewer === null) return null;
    const to = whole - fewer;
    return { field: "cache_tokens", node: null, from, to, words: `cache_tokens <= ${to}` };
  }

  /** The least whole number in 1..most that helps, when more always helps as much; null when none does. */
  async #leastOf(most: number, helps: (amount: number) => Promise<boolean>): Promise<number | null> {
    if (most < 1 || !(await helps(most))) return null;
    let [low, high] = [0, most];
    while (high - low > 1 && !this.#deadline.passed) {
      const middle = Math.floor((low + high) / 2);
      if (await helps(middle)) high = middle;
      else low = middle;
    }
    return high;
  }
}

function moreMemory(node: ProblemNode, bytes: number): Remedy {
  const from = node.memory_bytes ?? 0;
  const words = `${sayBytes(bytes - from)} more on node ${node.id}`;
  return { field: "memory_bytes", node: node.id, from, to: bytes, words };
}

function joinWords(head: string, remedies: readonly Remedy[]): string {
  const least = [remedies[0], remedies.find((remedy) => remedy.field === "cache_tokens")];
  const words = [...new Set(least.filter((remedy) => remedy !== undefined))].map((remedy) => remedy.words);
  return words.length === 0 ? head : `${head}; the least: ${words.join(", or ")}`;
}

function withNodes(problem: Problem, change: (node: ProblemNode) => ProblemNode): Problem {
  return { ...problem, nodes: problem.nodes.map(change) };
}

function without(node: ProblemNode, field: "memory_bytes" | "max_units"): ProblemNode {
  const copy = { ...node };
  delete copy[field];
  return copy;
}

function changeNode(problem: Problem, id: string, changes: Partial<ProblemNode>): Problem {
  return withNodes(problem, (node) => (node.id === id ? { ...node, ...changes } : node));
}
