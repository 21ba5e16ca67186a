import type { RawCell } from "../profile/index.ts";
import { must } from "../common/index.ts";
import type { HookedStep, PlainStep, StepSegment, TurnSamples } from "./messages.ts";
import { type Cell, formatCell } from "./cells.ts";

interface Collected {
  readonly cell: Cell;
  readonly outputRows: number;
  readonly hooked: HookedStep[];
  readonly plain: PlainStep[];
}

/** Gathers what the measuring process sends, turn by turn. */
export class SampleCollector {
  readonly #cells = new Map<string, Collected>();

  add({ cell, outputRows, hooked, plain }: TurnSamples): void {
    const key = formatCell(cell);
    const known = this.#cells.get(key) ?? { cell, outputRows, hooked: [], plain: [] };
    known.hooked.push(...hooked);
    known.plain.push(...plain);
    this.#cells.set(key, known);
  }

  has(cell: Cell): boolean {
    return this.#cells.has(formatCell(cell));
  }

  /**
   * In the order in which they were met.
   *
   * @param unitOf from the stage's units to those of the undivided model; others are left out
   */
  finish(unitOf: ReadonlyMap<number, number>): RawCell[] {
    return [...this.#cells.values()].map(({ cell, outputRows, hooked, plain }) => {
      const kept = keepUndisturbed(hooked);
      return {
        ...cell,
        outputRows,
        stepMs: kept.map((step) => step.stepMs),
        stepOffMs: keepUndisturbed(plain).map((step) => step.stepMs),
        hookMs: kept.map((step) => step.hookMs),
        outsideMs: kept.map((step) => step.outsideMs),
        otherMs: kept.map((step) => step.otherMs),
        segments: collectSegments(kept, unitOf),
      };
    });
  }
}

/** So many samples are kept however disturbed they are. */
const MIN_KEPT = 5;

/**
 * Leaves out steps in which other programs took the processors more often than in the quietest quarter: they tell of the
 * others. Chosen by the cause, not by the time that came out, so that what is left is as the machine alone would be. On a
 * machine with nothing else to do that is almost every step.
 */
function keepUndisturbed<T extends PlainStep>(steps: readonly T[]): readonly T[] {
  const sorted = steps.map((step) => step.preemptions).toSorted((a, b) => a - b);
  const limit = sorted[Math.min(sorted.length, Math.max(MIN_KEPT, Math.ceil(sorted.length / 4))) - 1] ?? 0;
  return steps.filter((step) => step.preemptions <= limit);
}

function collectSegments(hooked: readonly HookedStep[], unitOf: ReadonlyMap<number, number>): RawCell["segments"] {
  const byKey = new Map<string, { readonly first: StepSegment; readonly ms: number[] }>();
  for (const [index, step] of hooked.entries()) {
    for (const segment of step.segments) {
      const key = `${segment.unit} ${segment.role}`;
      // A part that only some steps have took no time in the others.
      const part = byKey.get(key) ?? { first: segment, ms: Array<number>(hooked.length).fill(0) };
      part.ms[index] = segment.ms;
      byKey.set(key, part);
    }
  }
  return [...byKey.values()].flatMap(({ first, ms }) =>
    unitOf.has(first.unit)
      ? [{ unit: must(unitOf.get(first.unit), "unit"), role: first.role, ms, segmentsPerStep: first.segments }]
      : [],
  );
}
