import type { GgufFile, GgufHeader, GgufTensor } from "../gguf/index.ts";
import { planStage, type PlanStageOptions } from "./stage-plan.ts";
import { readFacts } from "./facts.ts";
import type { UnitRange } from "./units.ts";

/** Where a stage's data come from: the model's file, or a peer that has it. */
export interface StageSource {
  /** The tensor's data in pieces of any size, in order; called once for each tensor, one after another. */
  streamTensor(tensor: GgufTensor): AsyncIterable<Uint8Array>;
}

/** Reads from an open file, which stays the caller's to close. */
export function sourceFromFile(file: GgufFile): StageSource {
  return { streamTensor: (tensor) => file.streamRange(tensor.shard, tensor.fileOffset, tensor.bytes) };
}

/** A tensor's place in the source. */
export interface SourceRange {
  readonly tensor: string;
  readonly shard: number;
  /** Absolute, in the shard's file. */
  readonly fileOffset: number;
  readonly bytes: number;
}

/**
 * What a stage copies from its source, in the order of the source's files; what it fills with zeros and ones is not
 * among it. Pure.
 *
 * @throws as `planStage`
 */
export function neededRanges(header: GgufHeader, range: UnitRange, options: PlanStageOptions = {}): SourceRange[] {
  const { tensors } = readFacts(header);
  const names = planStage(header, range, options).tensors.flatMap(({ source }) =>
    source.kind === "copy" ? [source.tensor] : [],
  );
  return names
    .flatMap((name) => tensors.get(name) ?? [])
    .map(({ name, shard, fileOffset, bytes }) => ({ tensor: name, shard, fileOffset, bytes }))
    .sort((a, b) => a.shard - b.shard || a.fileOffset - b.fileOffset);
}
