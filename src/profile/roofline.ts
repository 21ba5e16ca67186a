import type { Bound } from "./types.ts";

/** The machine's two roofs, as measured with the run's threads. */
export interface Roofs {
  readonly memoryGbPerS: number;
  readonly computeGflops: number;
}

/**
 * A time of more than twice what both roofs ask for is explained by neither: less than half of it is spent on what has
 * to be read or computed. Good kernels reach 60-90% of the roof that bounds them; starting threads, waiting for the
 * slowest of them and tiny operations fall far below half.
 */
const OVERHEAD_FACTOR = 2;

/** Time that the bytes need at the machine's memory bandwidth: 1 GB/s is 10^6 bytes in a millisecond. */
export function memoryMs(bytes: number, roofs: Roofs): number {
  return roofs.memoryGbPerS > 0 ? bytes / (roofs.memoryGbPerS * 1e6) : 0;
}

/** Time that the arithmetic needs at the machine's best rate. */
export function computeMs(flops: number, roofs: Roofs): number {
  return roofs.computeGflops > 0 ? flops / (roofs.computeGflops * 1e6) : 0;
}

/**
 * What bounds a piece of work: whichever roof asks for more time, unless the measured time (hooks' cost taken off) lies
 * far above both.
 */
export function findBound(ms: number, flops: number, bytes: number, roofs: Roofs): Bound {
  const memory = memoryMs(bytes, roofs);
  const compute = computeMs(flops, roofs);
  if (ms > OVERHEAD_FACTOR * Math.max(memory, compute)) return "overhead";
  return memory >= compute ? "memory" : "compute";
}
