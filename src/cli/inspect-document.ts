import type { RowClasses } from "../schedule/index.ts";
import type { ModelDescription } from "../model/index.ts";
import type { Document } from "./output.ts";

/** `noodle.inspect.v1`; `row_classes` only when they were asked for. */
export function writeInspectDocument(model: ModelDescription, rowClasses: RowClasses | null): Document {
  return {
    schema: "noodle.inspect.v1",
    architecture: model.architecture,
    name: model.name,
    parameters: model.parameters,
    file_bytes: model.fileBytes,
    context_length: model.contextLength,
    embedding_length: model.embeddingLength,
    vocab_size: model.vocabSize,
    quantization: model.quantization,
    tied_head: model.tiedHead,
    support: model.support,
    units: model.units.map((unit) => ({
      index: unit.index,
      name: unit.name,
      kind: unit.kind,
      bytes: unit.bytes,
      parameters: unit.parameters,
      tensors: unit.tensors,
      roles: {
        attention_bytes: unit.roles.attentionBytes,
        mlp_bytes: unit.roles.mlpBytes,
        norm_bytes: unit.roles.normBytes,
        other_bytes: unit.roles.otherBytes,
      },
      kv_bytes_per_token: unit.kvBytesPerToken,
    })),
    legal_cuts: model.legalCuts,
    illegal_cuts: model.illegalCuts,
    tied_bytes: model.tiedBytes,
    shared_bytes: model.sharedBytes,
    ...(rowClasses === null ? {} : { row_classes: rowClasses }),
  };
}
