import type { Deadline } from "../deadline.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { listCounts, reachBack, reachStarts } from "../reach.ts";

export interface PathOptions {
  /** Every stage and hop within this. */
  readonly limitMs: number;
  /** Kinds whose nodes are counted; the others may be used again and again, which makes the result a lower bound. */
  readonly counted: readonly number[];
  /** Only plans that begin with this kind, and what the way back to it costs; null: any, with the least way back. */
  readonly firstKind: number | null;
  /** Only plans that cost less are looked for. */
  readonly belowMs: number;
  /** From each prefix on, what the rest costs at least: `boundCompletions`. */
  readonly completions: Float64Array;
  readonly deadline: Deadline;
}

export interface Path {
  /** Pieces of kinds; a kind that is not counted may stand more often than it has nodes. */
  readonly pieces: readonly Piece[];
  readonly costMs: number;
}

/** Costs of all (state, last kind, prefix): 192 MiB. */
const CELLS_MAX = 24 * 2 ** 20;
/** With many kinds a proof is out of reach; a bound has to come quickly. */
const KINDS_MANY = 64;
const WORK_MANY = 3e8;

/** Whether a search that counts these kinds fits memory and patience. */
export function canFindPath(kinds: Kinds, counted: readonly number[]): boolean {
  const states = counted.reduce((size, kind) => size * (kinds.count(kind) + 1), 1);
  const cells = states * kinds.size * (kinds.instance.units + 1);
  if (cells > CELLS_MAX) return false;
  if (kinds.size <= KINDS_MANY || counted.length === 0) return true;
  return cells * (kinds.instance.uniformLinks ? KINDS_MANY : kinds.size) <= WORK_MANY;
}

/**
 * The plan of at least two stages with the least latency: over states (which counted nodes are used), the last kind and
 * the prefix of units, all prefixes kept, so exact for any links. Exact as a plan when `counted` holds every kind, and
 * otherwise whenever the result uses no kind more often than it has nodes.
 *
 * @returns null when there is none below `belowMs`
 * @throws TimeIsUp
 */
export function findPath(kinds: Kinds, options: PathOptions): Path | null {
  const search = new PathSearch(kinds, options);
  return search.run();
}

class PathSearch {
  readonly #kinds: Kinds;
  readonly #options: PathOptions;
  readonly #units: number;
  readonly #width: number;
  readonly #states: number;
  /** What one more node of the kind adds to the state; 0 when it is not counted. */
  readonly #strides: Int32Array;
  readonly #costs: Float64Array;
  /** By from * size + to; empty where all are the same. */
  readonly #hops: Float64Array;
  readonly #uniformHopMs: number | null;
  readonly #starts: readonly Int16Array[];
  readonly #counts: readonly (readonly number[] | null)[];
  readonly #backs: Float64Array;
  /** prefixMs of each kind's nodes. */
  readonly #prefixes: readonly (Float64Array | null)[];
  /** 1 for kinds of one node. */
  readonly #single: Uint8Array;
  readonly #overheads: Float64Array;
  readonly #next: number[] = [];
  readonly #last: number[] = [];
  /** Of each state, the shortest prefix from which the nodes that are left can still serve all; null when unknown. */
  readonly #leastPrefixes: Int16Array | null;

  constructor(kinds: Kinds, options: PathOptions) {
    const { size } = kinds;
    this.#kinds = kinds;
    this.#options = options;
    this.#units = kinds.instance.units;
    this.#width = this.#units + 1;
    this.#strides = new Int32Array(size);
    let states = 1;
    for (const kind of options.counted) {
      this.#strides[kind] = states;
      states *= kinds.count(kind) + 1;
    }
    this.#states = states;
    this.#costs = new Float64Array(states * size * this.#width).fill(Number.POSITIVE_INFINITY);
    this.#uniformHopMs = kinds.instance.uniformLinks ? this.#hopMs(0, 0) : null;
    this.#hops = kinds.instance.uniformLinks ? new Float64Array(0) : this.#listHops();
    this.#starts = kinds.members.map((_, kind) => reachStarts(kinds.instance, kinds.node(kind), options.limitMs));
    this.#counts = kinds.members.map((_, kind) =>
      kinds.instance.node(kinds.node(kind)).tableMs === null
        ? null
        : listCounts(kinds.instance, kinds.node(kind), options.limitMs),
    );
    this.#backs = this.#listBacks();
    this.#prefixes = kinds.members.map((_, kind) => kinds.instance.node(kinds.node(kind)).prefixMs);
    this.#overheads = Float64Array.from(kinds.members, (_, kind) => kinds.instance.node(kinds.node(kind)).overheadMs);
    this.#single = Uint8Array.from(kinds.members, (nodes) => (nodes.length === 1 ? 1 : 0));
    this.#leastPrefixes = options.counted.length === size ? this.#listLeastPrefixes() : null;
  }

  run(): Path | null {
    const { size } = this.#kinds;
    const { firstKind, deadline } = this.#options;
    const units = this.#units;
    for (let kind = 0; kind < size; kind++) {
      if (firstKind !== null && kind !== firstKind) continue;
      const state = this.#strides[kind] as number;
      for (let end = 1; end < units; end++) {
        const ms = this.#stageMs(kind, 0, end);
        if (this.#isWorthIt(ms, end) && this.#canFinish(state, end)) this.#costs[this.#cell(state, kind, end)] = ms;
      }
    }
    let best: { costMs: number; state: number; kind: number } | null = null;
    const entry = new Float64Array(size * this.#width);
    const queues = new Int16Array(size * this.#width);
    const heads = new Int32Array(size);
    const tails = new Int32Array(size);
    for (let state = 0; state < this.#states; state++) {
      deadline.check();
      if (!this.#isReached(state)) continue;
      this.#listKinds(state);
      entry.fill(Number.POSITIVE_INFINITY);
      heads.fill(0);
      tails.fill(0);
      for (let end = 1; end <= units; end++) {
        for (const kind of this.#next) {
          const stride = this.#strides[kind] as number;
          const costMs = this.#extend(entry, queues, heads, tails, kind, end);
          if (!this.#isWorthIt(costMs, end) || !this.#canFinish(state + stride, end)) continue;
          if (end === units) {
            const total = costMs + (this.#backs[kind] as number);
            if (total < (best?.costMs ?? this.#options.belowMs)) best = { costMs: total, state: state + stride, kind };
          } else {
            const cell = this.#cell(state + stride, kind, end);
            if (costMs < (this.#costs[cell] as number)) this.#costs[cell] = costMs;
          }
        }
        if (end < units) this.#enter(state, end, entry, queues, heads, tails);
      }
    }
    return best === null ? null : this.#trace(best.state, best.kind, best.costMs);
  }

  /** The least cost with which `kind` can end at `end`, from what has entered; the rest of a state is walked once. */
  #extend(
    entry: Float64Array,
    queues: Int16Array,
    heads: Int32Array,
    tails: Int32Array,
    kind: number,
    end: number,
  ): number {
    const base = kind * this.#width;
    const counts = this.#counts[kind] as readonly number[] | null;
    if (counts !== null) {
      let least = Number.POSITIVE_INFINITY;
      for (const count of counts) {
        if (count >= end) break;
        const before = entry[base + end - count] as number;
        if (before === Number.POSITIVE_INFINITY) continue;
        least = Math.min(least, before + this.#stageMs(kind, end - count, end));
      }
      return least;
    }
    const start = (this.#starts[kind] as Int16Array)[end] as number;
    let head = heads[kind] as number;
    while (head < (tails[kind] as number) && (queues[base + head] as number) < start) head++;
    heads[kind] = head;
    if (head === (tails[kind] as number)) return Number.POSITIVE_INFINITY;
    const first = queues[base + head] as number;
    const prefix = this.#prefixes[kind] as Float64Array;
    const unitsMs = (prefix[end] as number) - (prefix[first] as number);
    return (entry[base + first] as number) + ((this.#overheads[kind] as number) + unitsMs);
  }

  /** Which kinds can be next in a state, and which can have been the last. */
  #listKinds(state: number): void {
    this.#next.length = 0;
    this.#last.length = 0;
    for (let kind = 0; kind < this.#kinds.size; kind++) {
      const stride = this.#strides[kind] as number;
      const isCounted = stride > 0;
      if (!isCounted || this.#hasRoom(state, kind)) this.#next.push(kind);
      if (!isCounted || Math.floor(state / stride) % (this.#kinds.count(kind) + 1) > 0) this.#last.push(kind);
    }
  }

  /** Makes the prefix `at` of `state` a place to go on from, for every kind. */
  #enter(
    state: number,
    at: number,
    entry: Float64Array,
    queues: Int16Array,
    heads: Int32Array,
    tails: Int32Array,
  ): void {
    const { size } = this.#kinds;
    const row = state * size * this.#width + at;
    const near = this.#uniformHopMs === null ? null : this.#findNearest(row);
    for (const kind of this.#next) {
      let least = Number.POSITIVE_INFINITY;
      if (near !== null) {
        const self = near.kind === kind && this.#single[kind] === 1;
        least = (self ? near.secondMs : near.leastMs) + (this.#uniformHopMs ?? 0);
      } else {
        for (const last of this.#last) {
          const costMs = (this.#costs[row + last * this.#width] as number) + (this.#hops[last * size + kind] as number);
          if (costMs < least) least = costMs;
        }
      }
      if (least === Number.POSITIVE_INFINITY) continue;
      const base = kind * this.#width;
      entry[base + at] = least;
      const prefix = this.#prefixes[kind] as Float64Array | null;
      if (prefix === null) continue;
      const weight = least - (prefix[at] as number);
      let tail = tails[kind] as number;
      while (tail > (heads[kind] as number)) {
        const other = queues[base + tail - 1] as number;
        if ((entry[base + other] as number) - (prefix[other] as number) < weight) break;
        tail--;
      }
      queues[base + tail] = at;
      tails[kind] = tail + 1;
    }
  }

  /** The cheapest kind to be last at a place, and the cheapest other one. */
  #findNearest(row: number): { kind: number; leastMs: number; secondMs: number } {
    const near = { kind: -1, leastMs: Number.POSITIVE_INFINITY, secondMs: Number.POSITIVE_INFINITY };
    for (const kind of this.#last) {
      const costMs = this.#costs[row + kind * this.#width] as number;
      if (costMs < near.leastMs) {
        near.secondMs = near.leastMs;
        near.leastMs = costMs;
        near.kind = kind;
      } else if (costMs < near.secondMs) near.secondMs = costMs;
    }
    return near;
  }

  #isWorthIt(costMs: number, at: number): boolean {
    return costMs + (this.#options.completions[at] as number) < this.#options.belowMs;
  }

  #canFinish(state: number, at: number): boolean {
    return this.#leastPrefixes === null || at >= (this.#leastPrefixes[state] as number);
  }

  /** Serves from the back with every set of nodes, hops aside; the state of what is left is all but the used. */
  #listLeastPrefixes(): Int16Array {
    const { size, instance } = this.#kinds;
    const backs = this.#kinds.members.map((_, kind) =>
      reachBack(instance, this.#kinds.node(kind), this.#options.limitMs),
    );
    const least = new Int16Array(this.#states).fill(this.#units);
    for (let state = this.#states - 1; state >= 0; state--) {
      for (let kind = 0; kind < size; kind++) {
        if (!this.#hasRoom(state, kind)) continue;
        const rest = least[state + (this.#strides[kind] as number)] as number;
        least[state] = Math.min(least[state] as number, (backs[kind] as Int16Array)[rest] as number);
      }
    }
    return least;
  }

  /** Walks back by looking for the cheapest way into each stage. */
  #trace(state: number, kind: number, costMs: number): Path {
    const { size } = this.#kinds;
    const pieces: Piece[] = [];
    let end = this.#units;
    for (;;) {
      const before = state - (this.#strides[kind] as number);
      let best = {
        value: this.#isStart(before, kind) ? this.#stageMs(kind, 0, end) : Number.POSITIVE_INFINITY,
        at: 0,
        last: -1,
      };
      // A plan of one stage is none of ours.
      if (end === this.#units) best.value = Number.POSITIVE_INFINITY;
      for (let at = 1; at < end; at++) {
        const stageMs = this.#stageMs(kind, at, end);
        if (stageMs === Number.POSITIVE_INFINITY) continue;
        for (let last = 0; last < size; last++) {
          const value = (this.#costs[this.#cell(before, last, at)] as number) + this.#hopBetween(last, kind) + stageMs;
          if (value < best.value) best = { value, at, last };
        }
      }
      pieces.unshift({ node: kind, first: best.at, end });
      if (best.last === -1) return { pieces, costMs };
      state = before;
      kind = best.last;
      end = best.at;
    }
  }

  #listHops(): Float64Array {
    const { size } = this.#kinds;
    const hops = new Float64Array(size * size);
    for (let from = 0; from < size; from++) {
      for (let to = 0; to < size; to++) hops[from * size + to] = this.#hopBetween(from, to);
    }
    return hops;
  }

  #hopBetween(from: number, to: number): number {
    return from === to && this.#kinds.count(from) === 1 ? Number.POSITIVE_INFINITY : this.#hopMs(from, to);
  }

  #hopMs(from: number, to: number): number {
    const tooSlow = this.#kinds.occupyMs(from, to) > this.#options.limitMs;
    return tooSlow ? Number.POSITIVE_INFINITY : this.#kinds.hopMs(from, to);
  }

  #isStart(before: number, kind: number): boolean {
    const { firstKind } = this.#options;
    return before === 0 && (firstKind === null || firstKind === kind);
  }

  #stageMs(kind: number, first: number, end: number): number {
    const { instance } = this.#kinds;
    const node = this.#kinds.node(kind);
    if (!instance.fits(node, first, end)) return Number.POSITIVE_INFINITY;
    const ms = instance.stageMs(node, first, end);
    return ms <= this.#options.limitMs ? ms : Number.POSITIVE_INFINITY;
  }

  #hasRoom(state: number, kind: number): boolean {
    const stride = this.#strides[kind] as number;
    const count = this.#kinds.count(kind);
    return Math.floor(state / stride) % (count + 1) < count;
  }

  #isReached(state: number): boolean {
    const from = state * this.#kinds.size * this.#width;
    const end = from + this.#kinds.size * this.#width;
    for (let cell = from; cell < end; cell++) if (this.#costs[cell] !== Number.POSITIVE_INFINITY) return true;
    return false;
  }

  #cell(state: number, kind: number, prefix: number): number {
    return (state * this.#kinds.size + kind) * this.#width + prefix;
  }

  /** What the way back from each last kind costs at least. */
  #listBacks(): Float64Array {
    const { size, instance } = this.#kinds;
    const { firstKind } = this.#options;
    const backs = new Float64Array(size);
    if (instance.problem.return_bytes === undefined) return backs;
    if (instance.uniformLinks) return backs.fill(instance.returnMs(0, 1));
    for (let last = 0; last < size; last++) {
      let least = Number.POSITIVE_INFINITY;
      for (let first = 0; first < size; first++) {
        if ((firstKind !== null && first !== firstKind) || (first === last && this.#kinds.count(first) === 1)) continue;
        least = Math.min(least, this.#kinds.returnMs(last, first));
      }
      backs[last] = least;
    }
    return backs;
  }
}
