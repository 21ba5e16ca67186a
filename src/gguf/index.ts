export { PrefixTooShort } from "./byte-reader.ts";
export { encodeGgufHeader, type EncodedGgufHeader, type GgufHeaderInput, type GgufTensorShape } from "./encode.ts";
export { GgufFile } from "./file.ts";
export { ggmlTypeById, ggmlTypeByName, tensorBytes } from "./ggml-types.ts";
export { getArray, getNumber, getString } from "./metadata.ts";
export { openGguf } from "./open.ts";
export { parseGgufHeader } from "./parse.ts";
export type {
  GgmlType,
  GgufHeader,
  GgufMetadata,
  GgufScalar,
  GgufScalarType,
  GgufShard,
  GgufTensor,
  GgufValue,
} from "./types.ts";
export {
  writeGguf,
  type GgufTensorData,
  type GgufTensorInput,
  type WriteGgufOptions,
  type WrittenGguf,
} from "./write.ts";
