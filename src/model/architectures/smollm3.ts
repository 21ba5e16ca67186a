import type { ArchitectureSpec } from "./types.ts";
import { llamaBlock } from "./weights.ts";

/** The engine counts its layers without rotary positions from the stage's first block. */
const NO_ROPE_PERIOD = 4;

/** Every fourth layer has no rotary positions, which no metadata key can say otherwise. */
export const smollm3: ArchitectureSpec = {
  name: "smollm3",
  norm: "rms",
  output: "optional",
  outputNormBias: false,
  positionEmbedding: false,
  headWidth: "free",
  groupedHeads: true,
  experts: "never",
  headStage: "llama",
  illegalCut: (facts, cut) =>
    cut <= facts.blockCount && (cut - 1) % NO_ROPE_PERIOD !== 0
      ? `every ${NO_ROPE_PERIOD}th block has no rotary positions, counted from a stage's first block`
      : null,
  blockTensors: llamaBlock,
};
