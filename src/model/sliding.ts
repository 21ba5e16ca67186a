import { type GgufHeader, getNumber } from "../gguf/index.ts";
import type { CutSpec } from "./architectures/index.ts";
import { type ModelFacts, readFacts } from "./facts.ts";
import { findSupport } from "./support.ts";

const WINDOW_KEY = "attention.sliding_window";
const PATTERN_KEY = "attention.sliding_window_pattern";

/**
 * Which layers see a window only, one entry for each block; null when none does. A pattern is in the file as one flag
 * for each block, as a period, or is the architecture's habit.
 *
 * @see llama-model.cpp `load_swa_pattern`, llama-hparams.cpp `set_swa_pattern` (llama.cpp de3ff81)
 */
export function readSlidingLayers(facts: ModelFacts, spec: CutSpec): readonly boolean[] | null {
  if (spec.sliding === undefined) return null;
  if ((getNumber(facts.metadata, `${facts.architecture}.${WINDOW_KEY}`) ?? 0) === 0) return null;
  const key = `${facts.architecture}.${PATTERN_KEY}`;
  const entry = facts.metadata.get(key);
  const layers = Array.from({ length: facts.blockCount }, (_, block) => block);
  if (entry?.type === "array") return layers.map((block) => Number(entry.value[block] ?? 0) !== 0);
  const period = getNumber(facts.metadata, key) ?? spec.sliding.defaultPeriod;
  return layers.map((block) => period === 0 || block % period < period - 1);
}

/**
 * As `readSlidingLayers`, for any header: an undivided model's or a stage's own.
 *
 * @returns one flag for each block of the file, or null when none sees a window only
 */
export function listSlidingBlocks(header: GgufHeader): readonly boolean[] | null {
  const facts = readFacts(header);
  const support = findSupport(facts);
  const layers = support.level === "unsupported" ? null : readSlidingLayers(facts, support.spec);
  return layers?.includes(true) === true ? layers : null;
}
