export { checkProfileFor, type ProfileUse } from "./check-profile.ts";
export {
  compareFigures,
  type ComparedFigure,
  type FigureComparison,
  readRunFigures,
  type RunFigures,
} from "./compare-figures.ts";
export { compareProfiles, type ComparedPart, type ProfileComparison } from "./compare-profiles.ts";
export { completeProfile } from "./complete.ts";
export { CostModel, type CostQuery, type Prediction } from "./cost-model.ts";
export { countWork } from "./count-work.ts";
export { describeWork } from "./describe-work.ts";
export type { AttentionWork, ModelWork, TensorWork, UnitWork } from "./model-work.ts";
export type { RawCell, RawProfile, RawSegment } from "./raw.ts";
export { MAX_PROFILE_BYTES, readProfile } from "./read.ts";
export { costModelSchema, profileSchema } from "./schema.ts";
export type {
  Bottleneck,
  Bound,
  CostClass,
  CostModelDocument,
  CostTable,
  ProfileCell,
  ProfileDocument,
  ProfileMachine,
  ProfileModel,
  ProfileRow,
  ProfileSettings,
  ProfileSkip,
  Remedy,
  RemedyKind,
} from "./types.ts";
export { sayBytes } from "./words.ts";
