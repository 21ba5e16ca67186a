/** Shapes of known models, for `--like`. */
export interface DummyShape {
  readonly architecture: string;
  readonly layers: number;
  readonly embd: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** @default embd / heads */
  readonly headSize?: number;
  /** Of one expert where there are experts. */
  readonly ff: number;
  readonly vocab: number;
  readonly experts?: number;
  readonly tied: boolean;
  readonly contextLength: number;
  readonly slidingWindow?: number;
}

export const DUMMY_SHAPES: ReadonlyMap<string, DummyShape> = new Map<string, DummyShape>(
  Object.entries({
    "gpt2-124m": shape("gpt2", 12, 768, 12, 12, 3072, 50_257, { tied: true, contextLength: 1024 }),
    "gpt2-355m": shape("gpt2", 24, 1024, 16, 16, 4096, 50_257, { tied: true, contextLength: 1024 }),
    "smollm2-135m": shape("llama", 30, 576, 9, 3, 1536, 49_152, { tied: true, contextLength: 8192 }),
    "smollm2-360m": shape("llama", 32, 960, 15, 5, 2560, 49_152, { tied: true, contextLength: 8192 }),
    "llama-1b": shape("llama", 16, 2048, 32, 8, 8192, 32_000, { contextLength: 8192 }),
    "llama-3b": shape("llama", 28, 3072, 24, 8, 8192, 128_256, { tied: true, contextLength: 8192 }),
    "llama-8b": shape("llama", 32, 4096, 32, 8, 14_336, 128_256, { contextLength: 8192 }),
    "mixtral-8x7b": shape("llama", 32, 4096, 32, 8, 14_336, 32_000, { experts: 8, contextLength: 32_768 }),
    "qwen2-0.5b": shape("qwen2", 24, 896, 14, 2, 4864, 151_936, { tied: true, contextLength: 32_768 }),
    "qwen3-0.6b": shape("qwen3", 28, 1024, 16, 8, 3072, 151_936, { tied: true, headSize: 128, contextLength: 40_960 }),
    "qwen3-1.7b": shape("qwen3", 28, 2048, 16, 8, 6144, 151_936, { tied: true, headSize: 128, contextLength: 40_960 }),
    "qwen3-30b-a3b": shape("qwen3moe", 48, 2048, 32, 4, 768, 151_936, {
      experts: 128,
      headSize: 128,
      contextLength: 40_960,
    }),
    "gemma3-270m": shape("gemma3", 18, 640, 4, 1, 2048, 262_144, {
      tied: true,
      headSize: 256,
      contextLength: 32_768,
      slidingWindow: 512,
    }),
    "gemma3-1b": shape("gemma3", 26, 1152, 4, 1, 6912, 262_144, {
      tied: true,
      headSize: 256,
      contextLength: 32_768,
      slidingWindow: 512,
    }),
    "phi3-mini": shape("phi3", 32, 3072, 32, 32, 8192, 32_064, { contextLength: 4096 }),
    "olmo2-1b": shape("olmo2", 16, 2048, 16, 16, 8192, 100_352, { contextLength: 4096 }),
  }),
);

function shape(
  architecture: string,
  layers: number,
  embd: number,
  heads: number,
  kvHeads: number,
  ff: number,
  vocab: number,
  rest: Pick<DummyShape, "contextLength"> & Partial<DummyShape>,
): DummyShape {
  return { architecture, layers, embd, heads, kvHeads, ff, vocab, tied: false, ...rest };
}
