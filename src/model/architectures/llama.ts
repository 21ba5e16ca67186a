import type { ArchitectureSpec } from "./types.ts";
import { llamaBlock } from "./weights.ts";

/** Also Mistral, SmolLM2, TinyLlama, Yi and others that were converted under this name; with experts: Mixtral. */
export const llama: ArchitectureSpec = {
  name: "llama",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "optional",
  headStage: "llama",
  blockTensors: llamaBlock,
};
