import { median } from "../common/index.ts";
import type { CostModel } from "../profile/index.ts";
import type { LoopLook } from "./types.ts";

type Phase = LoopLook["phase"];

/** Looks that count. */
const WINDOW = 15;
/** Fewer looks say nothing. */
const LEAST_LOOKS = 5;

/**
 * How a node's classes of units compare with one another, from looks inside its steps: each class's time over its
 * profile's, against the same of the whole look. Looking inside costs time, so that only these shares are taken from it;
 * how slow the node is as a whole is told by the steps that nobody looks into.
 */
export class ClassWatch {
  /** Logarithms of the shares, by phase and class. */
  readonly #shares: Record<Phase, Map<string, number[]>> = { decode: new Map(), prefill: new Map() };

  add(costs: CostModel, { phase, rows, context, units }: LoopLook): void {
    const classOf = new Map(
      costs.document.classes.flatMap((one) => one.units.map((unit) => [unit, one.name] as const)),
    );
    const byClass = new Map<string, { measuredMs: number; predictedMs: number }>();
    const all = { measuredMs: 0, predictedMs: 0 };
    for (const { unit, ms } of units) {
      const name = classOf.get(unit);
      if (name === undefined || !(ms > 0 && Number.isFinite(ms))) continue;
      const predictedMs = costs.predict(unit, { phase, rows, context }).ms;
      const sums = byClass.get(name) ?? { measuredMs: 0, predictedMs: 0 };
      byClass.set(name, sums);
      for (const each of [sums, all]) {
        each.measuredMs += ms;
        each.predictedMs += predictedMs;
      }
    }
    // With a single class there is nothing to compare.
    if (byClass.size < 2 || !(all.predictedMs > 0)) return;
    for (const [name, { measuredMs, predictedMs }] of byClass) {
      if (!(predictedMs > 0)) continue;
      const shares = this.#shares[phase].get(name) ?? [];
      this.#shares[phase].set(name, shares);
      shares.push(Math.log((measuredMs / predictedMs) * (all.predictedMs / all.measuredMs)));
      if (shares.length > WINDOW) shares.shift();
    }
  }

  /** Looks at a class. */
  count(phase: Phase, name: string): number {
    return this.#shares[phase].get(name)?.length ?? 0;
  }

  /** Times as slow as its node; 1 where too little was seen of it. */
  share(phase: Phase, name: string): number {
    const shares = this.#shares[phase].get(name);
    return shares === undefined || shares.length < LEAST_LOOKS ? 1 : Math.exp(median(shares));
  }

  /** The node is taken as so many times as slow from now on, its classes as slow as before. */
  rebase(phase: Phase, by: number): void {
    for (const shares of this.#shares[phase].values()) {
      for (const [index, share] of shares.entries()) shares[index] = share - Math.log(by);
    }
  }
}
