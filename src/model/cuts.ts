import { NoodleError } from "../common/index.ts";
import type { CutSpec, PinnedBlockCount } from "./architectures/index.ts";
import type { ModelFacts } from "./facts.ts";
import { readSlidingLayers } from "./sliding.ts";
import { findSupport } from "./support.ts";
import { OUTPUT, OUTPUT_NORM, placeTensor } from "./tensor-place.ts";
import { blocksOf, formatRange, type UnitRange } from "./units.ts";

export interface IllegalCut {
  /** Between unit `cut - 1` and unit `cut`. */
  readonly cut: number;
  readonly reason: string;
}

export interface CutTable {
  readonly legalCuts: readonly number[];
  readonly illegalCuts: readonly IllegalCut[];
}

/**
 * Widths that the engine reads from the first block of a file and takes for all: where they differ by block, a stage
 * would read another width than the whole model does.
 */
const UNIFORM_KEYS = [
  "feed_forward_length",
  "attention.head_count",
  "attention.head_count_kv",
  "expert_used_count",
  "expert_feed_forward_length",
];

/** Head tensors that a stage of the llama architecture can hold. */
const PLAIN_HEAD_NAMES: ReadonlySet<string> = new Set([OUTPUT, OUTPUT_NORM, "output.scale", "output.input_scale"]);

/** Every place between two units, legal or not. Of an unsupported model none is legal. */
export function listCuts(facts: ModelFacts): CutTable {
  const legalCuts: number[] = [];
  const illegalCuts: IllegalCut[] = [];
  for (let cut = 1; cut <= facts.blockCount + 1; cut++) {
    const reason = findCutObstacle(facts, cut);
    if (reason === null) legalCuts.push(cut);
    else illegalCuts.push({ cut, reason });
  }
  return { legalCuts, illegalCuts };
}

/** Why a cut would change the result, or null. */
function findCutObstacle(facts: ModelFacts, cut: number): string | null {
  const support = findSupport(facts);
  if (support.level === "unsupported") return support.reason;
  const { spec } = support;
  const reason = spec.illegalCut?.(facts, cut) ?? null;
  if (reason !== null || cut === 1) return reason;
  if (cut === facts.blockCount + 1) return findHeadObstacle(facts, spec);
  if (spec.pinnedBlockCount?.count === facts.blockCount) {
    const { count, what } = spec.pinnedBlockCount;
    return `the engine tells the ${what} from the number of blocks being ${count}, so they must stay together`;
  }
  return findWindowObstacle(facts, spec, cut) ?? (support.level === "verified" ? findVaryingWidth(facts) : null);
}

/** What `findStageObstacle` must know of a model. */
export interface StageLimits {
  readonly blockCount: number;
  readonly pinnedBlockCount: PinnedBlockCount | null;
}

export function readStageLimits(facts: ModelFacts): StageLimits {
  const support = findSupport(facts);
  const pinnedBlockCount = support.level === "unsupported" ? null : (support.spec.pinnedBlockCount ?? null);
  return { blockCount: facts.blockCount, pinnedBlockCount };
}

/** Why a stage would change the result though both its cuts are legal, or null. */
export function findStageObstacle(model: StageLimits, range: UnitRange): string | null {
  const blocks = blocksOf(range, model.blockCount);
  const heldBlocks = blocks.end - blocks.first;
  if (heldBlocks === model.blockCount || heldBlocks !== model.pinnedBlockCount?.count) return null;
  return `the engine takes another ${model.pinnedBlockCount.what} for a stage of exactly ${heldBlocks} blocks`;
}

/** @throws NoodleError `CUT_ILLEGAL` when the stage cannot be had without changing the result */
export function checkStage(range: UnitRange, model: CutTable & StageLimits): void {
  for (const cut of [range.first, range.end]) {
    const illegal = model.illegalCuts.find((candidate) => candidate.cut === cut);
    if (illegal === undefined) continue;
    throw new NoodleError("CUT_ILLEGAL", `cut ${cut}: ${illegal.reason}; ${nameNearestCuts(cut, model.legalCuts)}`, {
      details: { cut, nearest: findNearestCuts(cut, model.legalCuts) },
    });
  }
  const reason = findStageObstacle(model, range);
  if (reason !== null) {
    throw new NoodleError("CUT_ILLEGAL", `stage ${formatRange(range)}: ${reason}; make it a block longer or shorter`, {
      details: { ...range },
    });
  }
}

function findHeadObstacle(facts: ModelFacts, spec: CutSpec): string | null {
  if (spec.headStage !== "llama") return null;
  for (const name of facts.tensors.keys()) {
    if (placeTensor(name).kind === "head" && !PLAIN_HEAD_NAMES.has(name)) {
      return `the head has a tensor "${name}", which a stage of the head alone cannot carry`;
    }
  }
  return null;
}

/** Where every stage needs a window: stages begin with a block that has one, and one lies before their beginning. */
function findWindowObstacle(facts: ModelFacts, spec: CutSpec, cut: number): string | null {
  if (spec.sliding?.required !== true) return null;
  const layers = readSlidingLayers(facts, spec) ?? [];
  if (layers[cut - 1] === true && layers.slice(0, cut - 1).includes(true)) return null;
  return "the engine refuses a stage without a sliding window, so stages must begin with a block that has one";
}

function findVaryingWidth(facts: ModelFacts): string | null {
  for (const key of UNIFORM_KEYS) {
    const entry = facts.metadata.get(`${facts.architecture}.${key}`);
    if (entry?.type === "array" && new Set(entry.value).size > 1) {
      return `${facts.architecture}.${key} differs by block, which the engine reads from a stage's first block only`;
    }
  }
  return null;
}

function findNearestCuts(cut: number, legalCuts: readonly number[]): number[] {
  const below = legalCuts.filter((legal) => legal < cut).at(-1);
  const above = legalCuts.find((legal) => legal > cut);
  return [below, above].filter((legal) => legal !== undefined);
}

function nameNearestCuts(cut: number, legalCuts: readonly number[]): string {
  const nearest = findNearestCuts(cut, legalCuts);
  return nearest.length === 0 ? "no cut of this model is legal" : `nearest legal: ${nearest.join(" and ")}`;
}
