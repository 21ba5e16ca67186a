export { type ArchitectureSpec, ARCHITECTURES } from "./architectures/index.ts";
export type { IllegalCut } from "./cuts.ts";
export { describeModel, type ModelDescription, type ModelUnit, type UnitRoles } from "./describe.ts";
export {
  DUMMY_SHAPES,
  type DummyOptions,
  type DummyShape,
  generateDummy,
  type GenerateDummyControl,
  makeDummyHeader,
  pickBlocks,
  writeSyntheticStage,
} from "./dummy/index.ts";
export { hashModel, type ModelHashes, type TensorHash } from "./model-hashes.ts";
export { listSlidingBlocks } from "./sliding.ts";
export { formatSplit, parseSplit, parseUnits, type Split, splitByBytes, stageBytes } from "./split.ts";
export { readStageManifest, type StageManifest, type StageManifestTensor } from "./stage-manifest.ts";
export { readAttentionShape, type AttentionShape } from "./attention-shape.ts";
export { planStage, type PlanStageOptions } from "./stage-plan.ts";
export type { StageRecipe, StageTensor, StageTensorSource } from "./stage-recipe.ts";
export { neededRanges, sourceFromFile, type SourceRange, type StageSource } from "./stage-source.ts";
export { writeStage, type WriteStageOptions } from "./stage-write.ts";
export { type BlockRange, countUnits, formatRange, type UnitRange } from "./units.ts";
