import { Incumbent, MEETS } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import { latencyOf } from "../latency/latency-of.ts";
import { OrderPool } from "../latency/pool.ts";
import { periodOf } from "../states/period.ts";
import type { SolveContext } from "./context.ts";
import { chooseLatencyMethod, solveLatency } from "./latency.ts";
import { solvePeriod } from "./period.ts";

/** A plan of which no other is better in one figure and as good in the other. */
export interface ParetoPoint {
  /** Pieces of kinds. */
  readonly pieces: readonly Piece[];
  readonly periodMs: number;
  readonly latencyMs: number;
  /** No plan of this period or less has a smaller latency than this. */
  readonly latencyBoundMs: number;
  readonly proven: boolean;
}

export interface ParetoFront {
  /** By growing period; empty when there is no plan. */
  readonly points: readonly ParetoPoint[];
  /** No plan has a smaller period. */
  readonly periodBoundMs: number;
  /** The front is whole and every point of it proven; of an empty one: there is no plan. */
  readonly proven: boolean;
  readonly algorithm: string;
}

/** How much smaller the next period must be: less is rounding. */
const STEP = 1e-10;
/** For points that are only found, when there was no time to prove them. */
const GRACE_MS = 500;
const FILLED_MAX = 256;

/** All trade-offs: the least latency with any period, then with a smaller period than that has, and so on to the least period. */
export async function solvePareto(context: SolveContext, capMs: number): Promise<ParetoFront> {
  const { kinds } = context;
  const least = await solvePeriod(context, capMs, Number.POSITIVE_INFINITY);
  const method = chooseLatencyMethod(context);
  const algorithm = `${least.algorithm}+${method.algorithm}`;
  const points: ParetoPoint[] = [];
  let isWhole = false;
  for (let limitMs = capMs; !context.deadline.passed; ) {
    const { incumbent } = solveLatency(context, limitMs, method);
    if (incumbent.plan === null) {
      isWhole = incumbent.bound === Number.POSITIVE_INFINITY;
      break;
    }
    const point = pointOf(context, incumbent.plan, incumbent.bound);
    points.push(point);
    if (point.periodMs <= least.incumbent.bound * (1 + MEETS)) {
      isWhole = true;
      break;
    }
    limitMs = point.periodMs * (1 - STEP);
  }
  const quickest = least.incumbent.plan;
  if (!isWhole && quickest !== null) points.push(...fillFront(context, points, quickest));
  const front = keepUndominated(points);
  return {
    points: front,
    periodBoundMs: least.incumbent.bound,
    proven: isWhole && front.every((point) => point.proven),
    algorithm: kinds.instance.nodes.length === 1 ? "one-node" : algorithm,
  };
}

/** Without time for proofs: what the orders of known plans make of smaller and smaller limits. */
function fillFront(context: SolveContext, points: readonly ParetoPoint[], quickest: readonly Piece[]): ParetoPoint[] {
  const { kinds } = context;
  const pool = new OrderPool(kinds);
  for (const point of points) pool.add(point.pieces);
  pool.add(quickest);
  const found = [pointOf(context, quickest, 0)];
  const grace = context.deadline.extended(GRACE_MS);
  let limitMs = points.at(-1)?.periodMs ?? Number.POSITIVE_INFINITY;
  while (found.length < FILLED_MAX && !grace.passed) {
    const incumbent = new Incumbent<readonly Piece[]>();
    pool.offerTo(incumbent, limitMs * (1 - STEP));
    if (incumbent.plan === null) break;
    const point = pointOf(context, incumbent.plan, 0);
    found.push(point);
    limitMs = point.periodMs;
  }
  return found;
}

function pointOf({ kinds }: SolveContext, pieces: readonly Piece[], latencyBoundMs: number): ParetoPoint {
  const latencyMs = latencyOf(kinds, pieces);
  return {
    pieces,
    periodMs: periodOf(kinds, pieces),
    latencyMs,
    latencyBoundMs,
    proven: latencyMs - latencyBoundMs <= MEETS * latencyMs,
  };
}

/** By growing period; each has a smaller latency than all before. */
function keepUndominated(points: readonly ParetoPoint[]): ParetoPoint[] {
  const kept: ParetoPoint[] = [];
  for (const point of [...points].sort((a, b) => a.periodMs - b.periodMs || a.latencyMs - b.latencyMs)) {
    const last = kept.at(-1);
    if (last === undefined || point.latencyMs < last.latencyMs * (1 - MEETS)) kept.push(point);
  }
  return kept;
}
