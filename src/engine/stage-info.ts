import type { LlamaContext } from "./llama-context.ts";
import type { StageFacts } from "./stage-facts.ts";
import type { StageConfig, StageInfo } from "./types.ts";

/** What an opened stage says of itself. */
export function describeStage(config: StageConfig, facts: StageFacts, context: LlamaContext): StageInfo {
  return {
    units: facts.units,
    unitCount: facts.unitCount,
    architecture: facts.architecture,
    nEmbd: facts.nEmbd,
    nVocab: facts.hasHead ? context.nVocab : 0,
    hasEmbedding: facts.hasEmbedding,
    hasHead: facts.hasHead,
    endsBlocks: facts.endsBlocks,
    weightsBytes: context.weightsBytes,
    kvBytes: facts.kvBytesPerToken * context.contextTokens * config.parallel,
    computeBufferBytes: context.computeBufferBytes,
    threads: config.threads,
    contextTokens: config.contextTokens,
    parallel: config.parallel,
    maxRows: context.maxRows,
    engine: { build: context.library.build, variant: context.library.variant },
  };
}
