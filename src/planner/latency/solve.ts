import { type Deadline, TimeIsUp } from "../deadline.ts";
import { type Incumbent, MEETS } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { searchLatency } from "../search/beam.ts";
import { boundCompletions } from "./completions.ts";
import { latencyOf } from "./latency-of.ts";
import { canFindPath, findPath, type Path } from "./paths.ts";
import { OrderPool } from "./pool.ts";

/** Beginnings that the search for a first plan keeps. */
const WIDTH = 16;

/** With more kinds not every beginning is looked at: what is left is a bound with the least way back. */
const STARTS_MAX = 64;

/** What is known of plans that begin with one kind; holds for every smaller limit of the period, too. */
interface Start {
  readonly kind: number | null;
  /** No plan that begins so costs less. */
  boundMs: number;
  /** Kinds that had to be counted so far. */
  counted: number[];
}

/** A way to the least latency. Asked again and again with smaller limits of the period, it makes a Pareto front. */
export interface LatencyMethod {
  readonly algorithm: string;
  /** Whether some answer is only a bound: memory or time did not suffice. */
  readonly wasCut: boolean;
  /**
   * Improves `incumbent` (pieces of kinds, the best plan of one node included if there is one) and raises its bound, up
   * to the proof if nothing is cut. Never throws for lack of time.
   */
  solve(limitMs: number, incumbent: Incumbent<readonly Piece[]>): void;
}

/**
 * The least latency of plans of at least two stages, for any links. Nodes are first counted not at all; those that the
 * cheapest path then uses too often are counted from then on, until none is: exact without looking at sets of nodes that
 * do not matter, and a bound at every step.
 *
 * Asked again with a smaller limit of the period, it goes on from what it knows.
 */
export class LatencySolver implements LatencyMethod {
  readonly algorithm = "state-space-refinement";
  readonly #kinds: Kinds;
  readonly #deadline: Deadline;
  readonly #pool: OrderPool;
  readonly #starts: Start[];
  readonly #anyStart: Start = { kind: null, boundMs: 0, counted: [] };
  #wasCut = false;

  constructor(kinds: Kinds, deadline: Deadline) {
    this.#kinds = kinds;
    this.#deadline = deadline;
    this.#pool = new OrderPool(kinds);
    const { instance } = kinds;
    // The way back depends on where a plan begins only if links differ.
    const matters = instance.problem.return_bytes !== undefined && !instance.uniformLinks && kinds.size <= STARTS_MAX;
    this.#starts = matters ? kinds.members.map((_, kind) => ({ kind, boundMs: 0, counted: [] })) : [];
  }

  get wasCut(): boolean {
    return this.#wasCut;
  }

  solve(limitMs: number, incumbent: Incumbent<readonly Piece[]>): void {
    const completions = boundCompletions(this.#kinds, limitMs);
    try {
      this.#pool.offerTo(incumbent, limitMs);
      const options = { limitMs, maxNodes: Number.POSITIVE_INFINITY, width: WIDTH, deadline: this.#deadline };
      const guess = searchLatency(this.#kinds, completions, options);
      if (guess !== null) incumbent.offer(guess, latencyOf(this.#kinds, guess));
      this.#refine(this.#anyStart, limitMs, completions, incumbent);
      // Each start in the order of its bound: most are never looked at.
      for (const start of [...this.#starts].sort((a, b) => a.boundMs - b.boundMs)) {
        if (this.#anyStart.boundMs >= incumbent.value * (1 - MEETS)) break;
        if (start.boundMs < incumbent.value * (1 - MEETS)) this.#refine(start, limitMs, completions, incumbent);
      }
    } catch (thrown) {
      if (!(thrown instanceof TimeIsUp)) throw thrown;
      this.#wasCut = true;
    }
    const ofStarts = Math.min(...this.#starts.map((start) => start.boundMs));
    incumbent.raise(this.#starts.length === 0 ? this.#anyStart.boundMs : Math.max(this.#anyStart.boundMs, ofStarts));
  }

  #refine(start: Start, limitMs: number, completions: Float64Array, incumbent: Incumbent<readonly Piece[]>): void {
    for (;;) {
      if (!canFindPath(this.#kinds, start.counted)) {
        this.#wasCut = true;
        return;
      }
      const path = findPath(this.#kinds, {
        limitMs,
        counted: start.counted,
        firstKind: start.kind,
        belowMs: incumbent.value,
        completions,
        deadline: this.#deadline,
      });
      if (path === null) {
        start.boundMs = Math.max(start.boundMs, incumbent.value);
        return;
      }
      start.boundMs = Math.max(start.boundMs, path.costMs);
      const overused = this.#findOverused(path);
      if (overused.length === 0) {
        incumbent.offer(path.pieces, latencyOf(this.#kinds, path.pieces));
        this.#pool.add(path.pieces);
        return;
      }
      start.counted = [...start.counted, ...overused];
    }
  }

  #findOverused({ pieces }: Path): number[] {
    const uses = new Map<number, number>();
    for (const { node: kind } of pieces) uses.set(kind, (uses.get(kind) ?? 0) + 1);
    return [...uses].filter(([kind, count]) => count > this.#kinds.count(kind)).map(([kind]) => kind);
  }
}
