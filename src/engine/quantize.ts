import { statSync } from "node:fs";
import { NoodleError } from "../common/index.ts";
import { loadLibrary } from "./native/index.ts";

/** `llama_ftype` numbers by the names that the engine prints. */
export const QUANTIZE_TYPES = {
  f32: 0,
  f16: 1,
  q4_0: 2,
  q4_1: 3,
  q8_0: 7,
  q5_0: 8,
  q5_1: 9,
  q2_k: 10,
  q3_k_s: 11,
  q3_k_m: 12,
  q3_k_l: 13,
  q4_k_s: 14,
  q4_k_m: 15,
  q5_k_s: 16,
  q5_k_m: 17,
  q6_k: 18,
  iq4_nl: 25,
  iq4_xs: 30,
  bf16: 32,
} as const;

export type QuantizeType = keyof typeof QUANTIZE_TYPES;

export function isQuantizeType(name: string): name is QuantizeType {
  return Object.hasOwn(QUANTIZE_TYPES, name);
}

/**
 * Quantises a whole model with the engine's quantiser. Blocks the thread for as long as it takes.
 *
 * @returns size of the new file. @throws NoodleError `ENGINE_FAILED`
 */
export function quantizeModel(input: string, output: string, type: QuantizeType, threads: number): { bytes: number } {
  const { calls } = loadLibrary();
  const params = { ...calls.llama_model_quantize_default_params(), nthread: threads, ftype: QUANTIZE_TYPES[type] };
  const rc = calls.llama_model_quantize(input, output, params);
  if (rc !== 0) throw new NoodleError("ENGINE_FAILED", `quantising ${input} to ${type} failed (${rc})`);
  return { bytes: statSync(output).size };
}
