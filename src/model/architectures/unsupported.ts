/** Architectures that cannot be cut exactly with this engine, and why. */

const ROWS_CHANGED = "the engine scales or normalises every input, hidden states too";
const ENCODER = "it is no decoder that predicts one token after another";
const RECURRENT = "its layers keep a running state, which this engine cannot roll back";
const PER_LAYER_INPUT = "every layer reads token embeddings of its own";
const FOUR_POSITIONS = "the engine wants four positions for every hidden state";
const NO_LAYER_OUTPUT = "the engine gives its layers' outputs no name";
const NOT_A_CHAIN = "its layers are not run once each, one after another";
const DRAFT = "it drafts for another model and reads that model's layers";

export const UNSUPPORTED_ARCHITECTURES: ReadonlyMap<string, string> = new Map([
  ...reasons(ROWS_CHANGED, "afmoe", "bloom", "gemma", "gemma2", "minicpm3", "muse-glimmer", "talkie"),
  ...reasons(ENCODER, "bert", "clip", "dream", "eurobert", "gemma-embedding", "jina-bert-v2", "jina-bert-v3", "llada"),
  ...reasons(ENCODER, "llada-moe", "llama-embed", "modern-bert", "neo-bert", "nomic-bert", "nomic-bert-moe", "rnd1"),
  ...reasons(ENCODER, "pockettts", "qwen3tts", "t5", "t5encoder", "wavtokenizer-dec"),
  ...reasons(
    RECURRENT,
    "arwkv7",
    "bailingmoe3",
    "falcon-h1",
    "granitehybrid",
    "jamba",
    "kimi-k3",
    "kimi-linear",
    "lfm2",
    "lfm2moe",
  ),
  ...reasons(RECURRENT, "mamba", "mamba2", "minimax-01", "nemotron_h", "nemotron_h_moe", "plamo2", "qwen35"),
  ...reasons(RECURRENT, "qwen35moe", "qwen3next", "qwen4exp", "rwkv6", "rwkv6qwen2", "rwkv7"),
  ...reasons(PER_LAYER_INPUT, "gemma3n", "gemma4"),
  ...reasons(FOUR_POSITIONS, "hunyuan_vl", "paddleocr", "qwen2vl", "qwen3vl", "qwen3vlmoe"),
  ...reasons(NO_LAYER_OUTPUT, "deepseek2-ocr"),
  ...reasons(NOT_A_CHAIN, "deepseek4", "graniteswitch", "hrm_text", "hy_v4", "nanbeige"),
  ...reasons(DRAFT, "dflash", "eagle3", "gemma4-assistant"),
]);

function reasons(reason: string, ...architectures: string[]): [string, string][] {
  return architectures.map((architecture) => [architecture, reason]);
}
