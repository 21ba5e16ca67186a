export { Coordinator } from "./coordinator.ts";
export type { ReadyProgress } from "./describe.ts";
export type { GenerateEvent, StageStats } from "./generation.ts";
export type { ModelSource } from "./model-source.ts";
export type { CoordinatorOptions } from "./options.ts";
export type { FinishReason, GenerateRequest } from "./session.ts";
export type { LayerKvHash } from "./stage-client.ts";
export type { StatusDocument } from "./status.ts";
export type { PromptTokenizer } from "./tokenizer.ts";
