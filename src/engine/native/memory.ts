import koffi from "koffi";
import { EvalCallback, type Pointer, TENSOR, ToFloat, TypeTraits } from "./layout.ts";

/** f32[count] at a native address, in place: valid until the library uses its memory otherwise. */
export function viewFloats(address: Pointer, count: number): Float32Array {
  return new Float32Array(koffi.view(address, count * 4));
}

export function readInt32(address: number): number {
  return koffi.decode(address, "int32_t") as number;
}

export function readInt64(address: number): number {
  return Number(koffi.decode(address, "int64_t") as number | bigint);
}

/** NUL-terminated name of a `ggml_tensor`. */
export function readName(tensor: number): string {
  const bytes = new Uint8Array(koffi.view(tensor + TENSOR.name, TENSOR.nameBytes));
  return Buffer.from(bytes.subarray(0, bytes.indexOf(0))).toString("latin1");
}

export function readAddress(data: ArrayBufferView): bigint {
  return koffi.address(data);
}

/** @returns an address for `cb_eval` and the function that takes the callback back. */
export function registerEvalCallback(callback: (tensor: number, ask: boolean) => boolean): {
  address: Pointer;
  release: () => void;
} {
  const address = koffi.register(callback, koffi.pointer(EvalCallback));
  return { address, release: () => koffi.unregister(address) };
}

/** Dequantiser of a tensor type: bytes of `count` elements to f32[count]; undefined for f32 itself. */
export function decodeFunction(
  traits: Pointer,
): ((bytes: Uint8Array, out: Float32Array, count: number) => void) | undefined {
  const { to_float } = koffi.decode(traits, TypeTraits) as { to_float: Pointer | null };
  if (to_float === null) return undefined;
  return koffi.decode(to_float, ToFloat) as (bytes: Uint8Array, out: Float32Array, count: number) => void;
}
