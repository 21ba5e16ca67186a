import { NoodleError } from "../common/index.ts";
import { openGguf } from "../gguf/index.ts";
import { listHookPoints } from "../observe/index.ts";
import { EmbeddingStage } from "./embedding-stage.ts";
import { LlamaStage } from "./llama-stage.ts";
import { readStageFacts } from "./read-stage-facts.ts";
import type { OpenStageOptions, Stage, StageConfig } from "./types.ts";

/**
 * Loads a stage file, or an undivided model, into this process. The header is checked first: the engine aborts the
 * process on some of what a damaged file may say.
 *
 * @returns a stage whose calls block this thread; close it when done
 * @throws NoodleError as `openGguf`; `ENGINE_NOT_FOUND`, `ENGINE_LOAD_FAILED`, `CONTEXT_EXCEEDED`,
 *   `HOOK_POINT_UNKNOWN` for a hook on what the stage does not hold
 */
export async function openStage(config: StageConfig, options: OpenStageOptions = {}): Promise<Stage> {
  checkConfig(config);
  const file = await openGguf(config.stageFile);
  const facts = readStageFacts(file.header, file.fileBytes);
  await file.close();
  if (facts.contextLength > 0 && config.contextTokens > facts.contextLength) {
    throw new NoodleError(
      "CONTEXT_EXCEEDED",
      `context of ${config.contextTokens} tokens, the model was made for ${facts.contextLength} (--context)`,
    );
  }
  const { hooks } = options;
  hooks?.attach(listHookPoints(facts));
  try {
    return facts.hasEmbedding && facts.blocks.length === 0
      ? new EmbeddingStage(config, facts, hooks)
      : new LlamaStage(config, facts, hooks);
  } catch (error) {
    hooks?.detach();
    throw error;
  }
}

function checkConfig(config: StageConfig): void {
  const limits: [string, number, number][] = [
    ["context (--context)", config.contextTokens, 1 << 24],
    ["parallel (--parallel)", config.parallel, 256],
    ["threads (--threads)", config.threads, 512],
    ["rows of a micro-batch", config.maxRows ?? 512, 1 << 16],
  ];
  for (const [name, value, most] of limits) {
    if (!Number.isInteger(value) || value < 1 || value > most)
      throw new NoodleError("USAGE", `${name} is ${value}, it must be 1..${most}`);
  }
}
