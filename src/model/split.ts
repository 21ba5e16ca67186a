import { must, NoodleError } from "../common/index.ts";
import { checkStage, findStageObstacle } from "./cuts.ts";
import type { ModelDescription } from "./describe.ts";
import { balance } from "./balance.ts";
import { countUnits, formatRange, hasHead, type UnitRange } from "./units.ts";

/** Stages in pipeline order, covering all units without gap or overlap. */
export type Split = readonly UnitRange[];

/**
 * Reads `A:B`, a half-open range of units.
 *
 * @throws NoodleError `USAGE` for anything else or an empty range, `CUT_OUT_OF_RANGE` beyond the model
 */
export function parseUnits(text: string, unitCount: number): UnitRange {
  const match = /^(\d{1,9}):(\d{1,9})$/.exec(text.trim());
  if (match === null) throw new NoodleError("USAGE", `units "${text}" must be written A:B, for example 0:${unitCount}`);
  const range = { first: Number(match[1]), end: Number(match[2]) };
  if (range.end > unitCount) {
    throw new NoodleError("CUT_OUT_OF_RANGE", `units ${text}: the model has the units 0:${unitCount}`, {
      details: { ...range, unitCount },
    });
  }
  if (range.first >= range.end) {
    throw new NoodleError("USAGE", `units ${text}: ${range.first} must be below ${range.end}`);
  }
  return range;
}

/**
 * Reads `0:6,6:10,10:14` and checks that it covers the model's units with legal cuts.
 *
 * @throws NoodleError `SPLIT_INVALID` for text that is no split, a gap or an overlap; `CUT_OUT_OF_RANGE` beyond the
 *   model; `CUT_ILLEGAL` naming the nearest legal cuts
 */
export function parseSplit(text: string, model: ModelDescription): Split {
  const unitCount = countUnits(model.blockCount);
  const split = text.split(",").map((part) => {
    try {
      return parseUnits(part, unitCount);
    } catch (error) {
      const { code, message } = NoodleError.from(error);
      throw code === "USAGE"
        ? new NoodleError("SPLIT_INVALID", `split "${text}": ${message}`, { cause: error })
        : error;
    }
  });
  checkSplit(split, model);
  return split;
}

/**
 * @throws NoodleError `SPLIT_INVALID` for a gap or an overlap, `CUT_ILLEGAL` naming the nearest legal cuts
 */
function checkSplit(split: Split, model: ModelDescription): void {
  const unitCount = countUnits(model.blockCount);
  let covered = 0;
  for (const range of split) {
    if (range.first !== covered) {
      const problem = range.first > covered ? "are in no stage" : "are in two stages";
      const [low, high] = [Math.min(range.first, covered), Math.max(range.first, covered)];
      throw new NoodleError("SPLIT_INVALID", `split ${formatSplit(split)}: the units ${low}:${high} ${problem}`, {
        details: { first: low, end: high },
      });
    }
    checkStage(range, model);
    covered = range.end;
  }
  if (covered !== unitCount) {
    throw new NoodleError(
      "SPLIT_INVALID",
      `split ${formatSplit(split)}: the units ${covered}:${unitCount} are in no stage`,
      {
        details: { first: covered, end: unitCount },
      },
    );
  }
}

export function formatSplit(split: Split): string {
  return split.map(formatRange).join(",");
}

/**
 * Bytes of the source's tensors that a stage holds, with its copies of a tied matrix and of tensors that every block
 * reads. What a recipe fills with zeros and ones is not counted.
 */
export function stageBytes(model: ModelDescription, range: UnitRange): number {
  let bytes = 0;
  for (const unit of model.units.slice(range.first, range.end)) bytes += unit.bytes;
  if (hasHead(range, model.blockCount) && range.first > 0) bytes += model.tiedBytes;
  // The first block's unit counts the shared tensors already.
  const hasLaterBlock = range.first > 1 && range.first <= model.blockCount;
  return hasLaterBlock ? bytes + model.sharedBytes : bytes;
}

/**
 * The default split: legal cuts such that the largest stage is as small as can be, embedding and head counted; among
 * those, the stages as even as can be. Exact.
 *
 * @throws NoodleError `SPLIT_INVALID` when the model has fewer units, or fewer legal cuts, than so many stages need;
 *   `MODEL_UNSUPPORTED` for more than one stage of a model that has no legal cuts at all
 */
export function splitByBytes(model: ModelDescription, stages: number): Split {
  const unitCount = countUnits(model.blockCount);
  if (!Number.isSafeInteger(stages) || stages < 1 || stages > unitCount) {
    throw new NoodleError("SPLIT_INVALID", `${stages} stages: the model has ${unitCount} units`, {
      details: { stages, unitCount },
    });
  }
  if (stages > 1 && model.support === "unsupported") {
    const reason = must(model.illegalCuts[0], "reason of an unsupported model").reason;
    throw new NoodleError("MODEL_UNSUPPORTED", `architecture "${model.architecture}" cannot be cut: ${reason}`);
  }
  const bounds = [0, ...model.legalCuts, unitCount];
  const cost = (first: number, end: number) =>
    findStageObstacle(model, { first, end }) === null ? stageBytes(model, { first, end }) : Number.POSITIVE_INFINITY;
  const split = balance(bounds, stages, cost);
  if (split === null) {
    throw new NoodleError(
      "SPLIT_INVALID",
      `${stages} stages: the model has only ${model.legalCuts.length} legal cuts`,
      {
        details: { stages, legalCuts: model.legalCuts.length },
      },
    );
  }
  return split;
}
