import { roundFigure } from "./round.ts";
import type { Remedy, RemedyKind } from "./types.ts";

/** @param gain share of the step's time; kept between 0 and 1 */
export function makeRemedy(kind: RemedyKind, words: string, gain: number, because: string): Remedy {
  return { kind, words, gain_ratio: roundFigure(Math.min(1, Math.max(0, gain))), because };
}
