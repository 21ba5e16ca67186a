import { weighUnits } from "../bounds.ts";
import { type Deadline, TimeIsUp } from "../deadline.ts";
import { type Incumbent, meets } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { periodOf } from "../states/period.ts";
import { improvePeriod } from "./improve.ts";
import { searchPeriod } from "./beam.ts";

const HALVINGS = 24;
const WIDTH = 12;
/** With many kinds the search has to be short: it stops at a coarser difference. */
const KINDS_MANY = 64;

/** Betters the incumbent (pieces of kinds) by search: no proof, any size. Stops early when its bound is met. */
export function searchPlans(
  kinds: Kinds,
  { capMs, maxNodes, deadline }: { readonly capMs: number; readonly maxNodes: number; readonly deadline: Deadline },
  incumbent: Incumbent<readonly Piece[]>,
): void {
  try {
    const tryLimit = (limitMs: number): boolean => {
      const weights = weighUnits(kinds, limitMs, maxNodes);
      if (weights.impossible) {
        incumbent.raise(limitMs);
        return false;
      }
      const pieces = searchPeriod(kinds, weights, { limitMs, maxNodes, width: WIDTH, deadline });
      if (pieces === null) return false;
      incumbent.offer(pieces, periodOf(kinds, pieces));
      return true;
    };
    if (incumbent.plan === null && !tryLimit(capMs)) return;
    const resolution = kinds.size > KINDS_MANY ? 2e-3 : 1e-4;
    let low = incumbent.bound;
    for (let step = 0; step < HALVINGS && !incumbent.isProven; step++) {
      if (incumbent.value - low <= resolution * incumbent.value) break;
      const middle = low + (incumbent.value - low) / (step < 4 ? 8 : 2);
      if (!tryLimit(middle)) low = middle;
    }
    if (incumbent.plan === null || meets(incumbent.value, incumbent.bound)) return;
    const better = improvePeriod(kinds, incumbent.plan, maxNodes, deadline);
    incumbent.offer(better, periodOf(kinds, better));
  } catch (thrown) {
    if (!(thrown instanceof TimeIsUp)) throw thrown;
  }
}
