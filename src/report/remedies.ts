import type { ReportRemedy } from "./document.ts";
import type { ReportInputs } from "./inputs.ts";
import { capitalize } from "./numbers.ts";
import { cleanName } from "./names.ts";

const REMEDIES = 4;
const MAX_WORDS_CHARS = 300;

/** What the profile says would help, over all bottlenecks: each kind once, the largest gain first. */
export function chooseRemedies({ profiles }: ReportInputs): readonly ReportRemedy[] {
  const all = (profiles[0]?.document.bottlenecks ?? []).flatMap(({ phase, remedies }) =>
    remedies.map((remedy) => ({ ...remedy, phase })),
  );
  const best = new Map<string, (typeof all)[number]>();
  for (const remedy of all) {
    if (remedy.gain_ratio > (best.get(remedy.kind)?.gain_ratio ?? 0)) best.set(remedy.kind, remedy);
  }
  return [...best.values()]
    .sort((a, b) => b.gain_ratio - a.gain_ratio)
    .slice(0, REMEDIES)
    .map(({ phase, words, gain_ratio, because }) => ({
      phase,
      words: capitalize(cleanName(words, MAX_WORDS_CHARS)),
      gain_ratio,
      because: capitalize(cleanName(because, MAX_WORDS_CHARS)),
    }));
}
