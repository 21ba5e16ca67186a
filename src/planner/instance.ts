import { must } from "../common/index.ts";
import type { Problem, ProblemNode } from "./document.ts";

/** A stage as the solvers know it: index of a node (or of a kind of nodes) and a half-open range of units. */
export interface Piece {
  readonly node: number;
  readonly first: number;
  readonly end: number;
}

/** Sums of products of the input differ in the last digits with the order of adding; nothing real is decided by them. */
const MEMORY_SLACK = 1e-12;

/** A node, compiled: every question about a range of units is answered in constant time. */
export interface InstanceNode {
  readonly overheadMs: number;
  readonly memoryBytes: number;
  readonly maxUnits: number;
  /** prefixMs[i] is the time of units [0,i); null for a node with a table. */
  readonly prefixMs: Float64Array | null;
  /** Whole stage time by number of units, infinite where the table has none; null for a node with times by unit. */
  readonly tableMs: Float64Array | null;
}

/** A problem prepared for the solvers. Indexes of nodes are those of `problem.nodes`. Immutable. */
export class Instance {
  readonly problem: Problem;
  readonly units: number;
  readonly nodes: readonly InstanceNode[];
  /** No period may be longer; infinite where the problem gives none. */
  readonly capMs: number;
  readonly replicas: number;
  /** Every hop costs the same. */
  readonly uniformLinks: boolean;
  /** The least time for which any hop occupies its link. */
  readonly leastOccupyMs: number;
  readonly #prefixWeights: Float64Array;
  readonly #ties: readonly (readonly number[])[];
  readonly #unitBytes: readonly number[];
  readonly #default: Hop;
  readonly #pairs: ReadonlyMap<number, Hop>;

  constructor(problem: Problem) {
    this.problem = problem;
    this.units = problem.units;
    this.nodes = problem.nodes.map((node) => compileNode(node, problem.units));
    this.capMs = problem.max_period_ms ?? Number.POSITIVE_INFINITY;
    this.replicas = problem.replicas ?? 1;
    this.#unitBytes = problem.unit_bytes ?? new Array<number>(problem.units).fill(0);
    const tokens = problem.cache_tokens ?? 0;
    const kv = problem.kv_bytes_per_token;
    this.#prefixWeights = sumPrefixes(this.#unitBytes.map((bytes, unit) => bytes + tokens * (kv?.[unit] ?? 0)));
    this.#ties = (problem.tied_units ?? []).map((group) => [...group].sort((a, b) => a - b));
    const links = problem.links;
    this.#default =
      links === undefined ? FREE_HOP : compileHop(problem, links.default.latency_ms, links.default.bytes_per_ms);
    const indexes = new Map(problem.nodes.map((node, index) => [node.id, index]));
    const pairs = new Map<number, Hop>();
    for (const pair of links?.pairs ?? []) {
      const hop = compileHop(problem, pair.latency_ms, pair.bytes_per_ms);
      if (sameHop(hop, this.#default)) continue;
      pairs.set(must(indexes.get(pair.from), pair.from) * this.nodes.length + must(indexes.get(pair.to), pair.to), hop);
    }
    this.#pairs = pairs;
    const { length } = this.nodes;
    const hops = pairs.size < length * (length - 1) ? [this.#default] : [];
    this.leastOccupyMs = [...hops, ...pairs.values()].reduce(
      (least, hop) => Math.min(least, hop.occupyMs),
      Number.POSITIVE_INFINITY,
    );
    this.uniformLinks = pairs.size === 0;
  }

  node(index: number): InstanceNode {
    return this.nodes[index] as InstanceNode;
  }

  /** Time of one step of node `index` over units [first, end); infinite where its table has no such count. */
  stageMs(index: number, first: number, end: number): number {
    const { prefixMs, tableMs, overheadMs } = this.node(index);
    if (prefixMs === null) return (tableMs as Float64Array)[end - first] as number;
    return overheadMs + ((prefixMs[end] as number) - (prefixMs[first] as number));
  }

  /** Bytes that a node needs to hold units [first, end): weights, tied ones once, and KV. */
  stageBytes(first: number, end: number): number {
    let bytes = (this.#prefixWeights[end] as number) - (this.#prefixWeights[first] as number);
    for (const group of this.#ties) {
      let sum = 0;
      let largest = 0;
      for (const unit of group) {
        if (unit < first || unit >= end) continue;
        const unitBytes = this.#unitBytes[unit] as number;
        sum += unitBytes;
        largest = Math.max(largest, unitBytes);
      }
      bytes -= sum - largest;
    }
    return bytes;
  }

  /** Whether node `index` may hold units [first, end), whatever the time. */
  fits(index: number, first: number, end: number): boolean {
    const { memoryBytes, maxUnits, tableMs } = this.node(index);
    if (end - first > maxUnits) return false;
    if (tableMs !== null && !Number.isFinite(tableMs[end - first])) return false;
    return memoryBytes === Number.POSITIVE_INFINITY || this.stageBytes(first, end) <= memoryBytes * (1 + MEMORY_SLACK);
  }

  /** How long an activation occupies the link. */
  occupyMs(from: number, to: number): number {
    return this.#hop(from, to).occupyMs;
  }

  /** How long an activation is on its way. */
  hopMs(from: number, to: number): number {
    return this.#hop(from, to).hopMs;
  }

  /** How long what the last stage returns is on its way to the first; 0 where nothing is returned. */
  returnMs(from: number, to: number): number {
    return this.#hop(from, to).returnMs;
  }

  /** Nodes whose links differ from the default, by the other node: both directions. */
  hasOwnLinks(index: number): boolean {
    return this.#nodesWithPairs().has(index);
  }

  #withPairs: Set<number> | null = null;
  #nodesWithPairs(): Set<number> {
    if (this.#withPairs === null) {
      this.#withPairs = new Set();
      for (const key of this.#pairs.keys()) {
        this.#withPairs.add(Math.floor(key / this.nodes.length)).add(key % this.nodes.length);
      }
    }
    return this.#withPairs;
  }

  #hop(from: number, to: number): Hop {
    if (this.uniformLinks) return this.#default;
    return this.#pairs.get(from * this.nodes.length + to) ?? this.#default;
  }
}

interface Hop {
  readonly occupyMs: number;
  readonly hopMs: number;
  readonly returnMs: number;
}

const FREE_HOP: Hop = { occupyMs: 0, hopMs: 0, returnMs: 0 };

function compileHop(problem: Problem, latencyMs: number, bytesPerMs: number): Hop {
  const occupyMs = problem.activation_bytes / bytesPerMs;
  const returned = problem.return_bytes;
  return {
    occupyMs,
    hopMs: latencyMs + occupyMs,
    returnMs: returned === undefined ? 0 : latencyMs + returned / bytesPerMs,
  };
}

function sameHop(a: Hop, b: Hop): boolean {
  return a.occupyMs === b.occupyMs && a.hopMs === b.hopMs && a.returnMs === b.returnMs;
}

function compileNode(node: ProblemNode, units: number): InstanceNode {
  const table = node.stage_ms_by_count;
  const tableMs = table === undefined ? null : new Float64Array(units + 1).fill(Number.POSITIVE_INFINITY);
  for (const [count, ms] of Object.entries(table ?? {})) (tableMs as Float64Array)[Number(count)] = ms;
  return {
    overheadMs: node.overhead_ms ?? 0,
    memoryBytes: node.memory_bytes ?? Number.POSITIVE_INFINITY,
    maxUnits: Math.min(node.max_units ?? units, units),
    prefixMs: node.unit_ms === undefined ? null : sumPrefixes(node.unit_ms),
    tableMs,
  };
}

function sumPrefixes(values: readonly number[]): Float64Array {
  const sums = new Float64Array(values.length + 1);
  for (const [index, value] of values.entries()) sums[index + 1] = (sums[index] as number) + value;
  return sums;
}
