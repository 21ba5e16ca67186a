import { NoodleError } from "../../common/index.ts";
import type { StageSizes } from "../stage-files/index.ts";

/** Beside weights and KV: compute buffers, the runtime of two processes, buffers of frames. */
const ALLOWANCE_BYTES = 96 * 1024 * 1024;

/**
 * @param limitBytes `--memory`; 0 = what is free
 * @throws MEMORY_INSUFFICIENT naming need and limit
 */
export function checkMemory(sizes: StageSizes, limitBytes: number, freeBytes: number): void {
  const needBytes = sizes.weightsBytes + sizes.kvBytes + ALLOWANCE_BYTES;
  const isLimited = limitBytes > 0;
  const haveBytes = isLimited ? limitBytes : freeBytes;
  if (needBytes <= haveBytes) return;
  const parts = `${sizes.weightsBytes} weights + ${sizes.kvBytes} KV + ${ALLOWANCE_BYTES} allowance`;
  const limit = isLimited ? `the limit is ${haveBytes} (--memory)` : `${haveBytes} are free`;
  throw new NoodleError("MEMORY_INSUFFICIENT", `the stage needs ${needBytes} bytes (${parts}), ${limit}`, {
    details: { needBytes, haveBytes, ...sizes },
  });
}
