import { exaone4 } from "./exaone4.ts";
import { gemma3 } from "./gemma3.ts";
import { gpt2 } from "./gpt2.ts";
import { gptOss } from "./gpt-oss.ts";
import { granite, granitemoe } from "./granite.ts";
import { llama } from "./llama.ts";
import { mistral3 } from "./mistral3.ts";
import { olmo2 } from "./olmo2.ts";
import { olmoe } from "./olmoe.ts";
import { phi3 } from "./phi3.ts";
import { qwen2 } from "./qwen2.ts";
import { qwen2moe } from "./qwen2moe.ts";
import { qwen3 } from "./qwen3.ts";
import { qwen3moe } from "./qwen3moe.ts";
import { seedOss } from "./seed-oss.ts";
import { smollm3 } from "./smollm3.ts";
import { stablelm } from "./stablelm.ts";
import { starcoder2 } from "./starcoder2.ts";
import type { ArchitectureSpec } from "./types.ts";

export { array, bool, float32, text, uint32 } from "./metadata-values.ts";
export type {
  ArchitectureSpec,
  BlockShape,
  CutSpec,
  MetadataEdits,
  PinnedBlockCount,
  WeightKind,
  WeightSpec,
} from "./types.ts";
export { UNSUPPORTED_ARCHITECTURES } from "./unsupported.ts";

/** The architectures whose cuts a test compares with the undivided engine, bit for bit, at every legal place. */
export const ARCHITECTURES: ReadonlyMap<string, ArchitectureSpec> = new Map(
  [
    exaone4,
    gemma3,
    gpt2,
    gptOss,
    granite,
    granitemoe,
    llama,
    mistral3,
    olmo2,
    olmoe,
    phi3,
    qwen2,
    qwen2moe,
    qwen3,
    qwen3moe,
    seedOss,
    smollm3,
    stablelm,
    starcoder2,
  ].map((spec) => [spec.name, spec]),
);
