import { hasAlikeBlocks } from "../blocks/shape.ts";
import { fitsBlockKnapsack } from "../blocks/knapsack.ts";
import { solvePeriodByBlocks } from "../blocks/solve.ts";
import { boundPeriod } from "../bounds.ts";
import { canCover, solvePeriodByCover } from "../cover.ts";
import { TimeIsUp } from "../deadline.ts";
import { Incumbent } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import { searchPlans } from "../search/period.ts";
import { fitsMemory, solvePeriodByStates } from "../states/period.ts";
import { openStateSpace, type StateSpace } from "../states/state-space.ts";
import { findAlone, type SolveContext } from "./context.ts";

/** Solvers report a bound and a plan; `algorithm` says which one they are of. */
export interface Solved {
  /** Pieces of kinds. */
  readonly incumbent: Incumbent<readonly Piece[]>;
  readonly algorithm: string;
}

/** (State, kind) pairs of one test: beyond the first number other exact ways are quicker, beyond the second too slow. */
const STATES_QUICK = 2 ** 21;
const STATES_MAX = 2 ** 25;
/** Of the time, for the first bound. */
const BOUND_SHARE = 0.25;
/** After the time limit: enough to have some plan. */
const GRACE_MS = 1_000;

/** The state space if a test of it is not too long. */
export function openStates(context: SolveContext, limit: number = STATES_MAX): StateSpace | null {
  const space = openStateSpace(context.kinds, limit / context.kinds.size);
  return space !== null && fitsMemory(space) ? space : null;
}

/** The exact way that suits the problem: by states where they are few, by counting alike blocks, else neither. */
export function chooseExact(context: SolveContext): { states: StateSpace | null; blocks: boolean } {
  const quick = openStates(context, STATES_QUICK);
  if (quick !== null) return { states: quick, blocks: false };
  const { instance } = context.kinds;
  if (hasAlikeBlocks(instance) && fitsBlockKnapsack(instance)) return { states: null, blocks: true };
  return { states: openStates(context), blocks: false };
}

export function nameStates(space: StateSpace): string {
  return space.counts.every((count) => count === 1) ? "subset-dp" : "count-dp";
}

/** The least period of plans of one node for each stage. Never throws for lack of time. */
export async function solvePeriod(context: SolveContext, capMs: number, maxNodes: number): Promise<Solved> {
  const { kinds, deadline } = context;
  const incumbent = new Incumbent<readonly Piece[]>();
  const alone = findAlone(kinds, capMs);
  if (alone !== null) incumbent.offer(alone.pieces, alone.ms);
  if (kinds.instance.nodes.length === 1 || maxNodes === 1) {
    incumbent.raise(incumbent.value);
    return { incumbent, algorithm: "one-node" };
  }
  const highMs = Math.min(capMs, incumbent.value);
  incumbent.raise(boundPeriod(kinds, 0, highMs, maxNodes, deadline.within(deadline.leftMs * BOUND_SHARE)));
  const { states, blocks } = chooseExact(context);
  try {
    if (states !== null) {
      solvePeriodByStates(states, { capMs, maxNodes, deadline }, incumbent);
      return { incumbent, algorithm: nameStates(states) };
    }
    if (blocks) {
      solvePeriodByBlocks(kinds, { capMs, maxNodes, deadline }, incumbent);
      return { incumbent, algorithm: "block-knapsack" };
    }
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
    search(context, capMs, maxNodes, incumbent);
    return { incumbent, algorithm: `${blocks ? "block-knapsack" : "subset-dp"}, cut short` };
  }
  search(context, capMs, maxNodes, incumbent);
  if (incumbent.isProven || context.solver === null || !canCover(kinds)) {
    return { incumbent, algorithm: "search+bound" };
  }
  await solvePeriodByCover(kinds, { maxNodes, deadline, solver: context.solver, capMs }, incumbent);
  return { incumbent, algorithm: "interval-cover-milp" };
}

function search(context: SolveContext, capMs: number, maxNodes: number, incumbent: Incumbent<readonly Piece[]>): void {
  const deadline = context.deadline.passed ? context.deadline.extended(GRACE_MS) : context.deadline;
  searchPlans(context.kinds, { capMs, maxNodes, deadline }, incumbent);
}
