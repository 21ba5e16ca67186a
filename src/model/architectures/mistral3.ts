import { llama } from "./llama.ts";
import type { ArchitectureSpec } from "./types.ts";

/** Llama's blocks; attention may be tempered by the position, which every stage knows. */
export const mistral3: ArchitectureSpec = { ...llama, name: "mistral3" };
