export type { Bindings, StructValue } from "./bindings.ts";
export { type Pointer, TENSOR } from "./layout.ts";
export { type Library, type LoadOptions, loadLibrary } from "./library.ts";
export { type EngineLocation, listCpuVariants, listEnginePackages } from "./locate.ts";
export {
  decodeFunction,
  readAddress,
  readInt32,
  readInt64,
  readName,
  registerEvalCallback,
  viewFloats,
} from "./memory.ts";
export { readTensor, type TensorFields } from "./tensor.ts";
export { ENGINE_VERSION } from "./pinned.ts";
