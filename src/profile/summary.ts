import type { RawProfile } from "./raw.ts";
import type { Bottleneck, ProfileCell } from "./types.ts";
import { sayNumber, saySharePercent } from "./words.ts";

/** Above this the parts do not explain the step, and the figures say less than they seem to. */
const TOLERATED_MISSING_RATIO = 0.03;

/**
 * The things that matter, in words: what one token spends its time on, what a prompt does, and what would help most;
 * then what the reader must know before trusting the figures.
 */
export function summariseProfile(
  bottlenecks: readonly Bottleneck[],
  cells: readonly ProfileCell[],
  raw: RawProfile,
): string[] {
  const decode = bottlenecks.find((bottleneck) => bottleneck.phase === "decode");
  const prefill = bottlenecks.find((bottleneck) => bottleneck.phase === "prefill");
  const lines = [decode, prefill].flatMap((bottleneck) => (bottleneck === undefined ? [] : bottleneck.words));
  const remedies = bottlenecks.flatMap((bottleneck) => bottleneck.remedies.map((remedy) => ({ bottleneck, remedy })));
  // More sequences and machines serve more requests; what makes one faster comes first.
  const forOne = remedies.filter(({ remedy }) => remedy.kind !== "rows" && remedy.kind !== "cut");
  const best = (forOne.length > 0 ? forOne : remedies).toSorted((a, b) => b.remedy.gain_ratio - a.remedy.gain_ratio)[0];
  lines.push(
    best === undefined
      ? "No change that this profile can put a figure on would save 1% of a step."
      : `Largest gain in sight, ${saySharePercent(best.remedy.gain_ratio)} of ${nameStep(best.bottleneck)}: ${best.remedy.words}; ${best.remedy.because}.`,
  );
  return [...lines, ...warn(cells, raw)];
}

function nameStep({ phase, rows }: Bottleneck): string {
  if (phase === "prefill") return `a chunk of ${rows} prompt tokens`;
  return rows === 1 ? "each token" : `each step of ${rows} sequences`;
}

function warn(cells: readonly ProfileCell[], { partialReason, settings, work }: RawProfile): string[] {
  const warnings: string[] = [];
  if (partialReason !== null) warnings.push(`This profile is partial: ${partialReason}.`);
  if (settings.synthetic) {
    const blocks = work.units.filter((unit) => unit.kind === "block").length;
    warnings.push(
      `Layers of random values stood for the model's: ${settings.synthetic_blocks ?? 0} blocks were timed for ${blocks}.`,
    );
  }
  const worst = Math.max(0, ...cells.map((cell) => Math.abs(cell.missing_ratio)));
  if (worst > TOLERATED_MISSING_RATIO) {
    warnings.push(`In one cell the parts differ from the step by ${sayNumber(worst * 100)}%.`);
  }
  return warnings;
}
