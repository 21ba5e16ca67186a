export {
  defaultThreads,
  describeEngine,
  type EngineDescription,
  type EngineDevice,
  type LoadedEngine,
  loadEngine,
} from "./engine.ts";
export { FakeStage } from "./fake.ts";
export { checkEngineLayout, type LayoutReport, requireEngineLayout } from "./layout-check.ts";
export { ENGINE_VERSION, listEnginePackages, type LoadOptions } from "./native/index.ts";
export { openStage } from "./open-stage.ts";
export { isQuantizeType, QUANTIZE_TYPES, quantizeModel, type QuantizeType } from "./quantize.ts";
export { type ProbeRequest, probeRowClasses } from "./row-class-probe.ts";
export { StageChain } from "./stage-chain.ts";
export { Tokenizer } from "./tokenizer.ts";
export { tryTokenizer } from "./tokenizer-trial.ts";
export {
  type EngineIdentity,
  GREEDY,
  type KvLayer,
  type OpenStageOptions,
  type RowLogprobs,
  type RowRun,
  type RunOutput,
  type SampledToken,
  type SamplingParams,
  type SlotStart,
  type Stage,
  type StageConfig,
  type StageForwardOptions,
  type StageInfo,
  type StageInput,
  type StageOutput,
  type UnitRange,
} from "./types.ts";
export {
  compareRuns,
  hashKv,
  type KvHashes,
  type PipelineRun,
  type ReferenceRequest,
  type ReferenceRun,
  runReference,
  type Verification,
} from "./verify.ts";
