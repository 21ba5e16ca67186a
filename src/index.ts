// The library: what a program needs to read models, run stages and run clusters. Nothing else is public.
export {
  Coordinator,
  type CoordinatorOptions,
  type FinishReason,
  type GenerateEvent,
  type GenerateRequest,
  type ReadyProgress,
  type StageStats,
  type StatusDocument,
} from "./cluster/coordinator/index.ts";
export { LocalCluster, type LocalClusterOptions } from "./cluster/local/index.ts";
export { ERROR_CODES, type ErrorCode, NoodleError } from "./common/index.ts";
export {
  compareRuns,
  defaultThreads,
  describeEngine,
  GREEDY,
  hashKv,
  loadEngine,
  openStage,
  probeRowClasses,
  runReference,
  type SamplingParams,
  type Stage,
  StageChain,
  type StageConfig,
  Tokenizer,
} from "./engine/index.ts";
export { type GgufHeader, openGguf } from "./gguf/index.ts";
export {
  describeModel,
  type DummyOptions,
  generateDummy,
  hashModel,
  type ModelDescription,
  parseSplit,
  type Split,
  splitByBytes,
  sourceFromFile,
  stageBytes,
  type UnitRange,
  writeStage,
} from "./model/index.ts";
export type { RowClasses } from "./schedule/index.ts";
