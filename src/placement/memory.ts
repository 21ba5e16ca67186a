import { stageBytes } from "../model/index.ts";
import type { PlacementModel, PlanWorkload } from "./plan-types.ts";
import type { CompiledWorkload } from "./workload.ts";

/** What a worker takes beside weights and KV: the runtime of its two processes, buffers of frames. */
const PROCESS_BYTES = 96 * 2 ** 20;
/** The engine makes caches of multiples of this many cells. */
const CELL_STEP = 256;
const F32_BYTES = 4;

export interface StageMemory {
  readonly weightsBytes: number;
  readonly kvBytes: number;
  /** Buffers and processes. */
  readonly reserveBytes: number;
}

/** What a stage over units [first, end) takes. */
export function countStageMemory(
  model: PlacementModel,
  workload: CompiledWorkload,
  range: { readonly first: number; readonly end: number },
): StageMemory {
  let kvBytes = 0;
  for (let unit = range.first; unit < range.end; unit++) kvBytes += countUnitKv(model, workload, unit);
  return { weightsBytes: stageBytes(model.description, range), kvBytes, reserveBytes: countReserve(model, workload) };
}

/** Keys and values of all streams in one unit. */
export function countUnitKv(model: PlacementModel, workload: CompiledWorkload, unit: number): number {
  const { kvBytesPerToken = 0, attention = null } = model.work.units[unit] ?? {};
  const window = workload.windowedCache ? (attention?.window ?? null) : null;
  // A window that slides by a whole call holds the rows of that call, too.
  const tokens = window === null ? workload.contextTokens : Math.min(workload.contextTokens, window + workload.maxRows);
  return kvBytesPerToken * roundUp(tokens) * workload.streams;
}

/** Processes, and the widest pair of in and out of any matrix, for the most rows of a call. */
export function countReserve({ work }: PlacementModel, { maxRows }: Pick<Required<PlanWorkload>, "maxRows">): number {
  let widest = 0;
  for (const unit of work.units) {
    if (unit.kind !== "block") continue;
    for (const { dims, use } of unit.tensors) {
      if (use === "matrix" || use === "experts") widest = Math.max(widest, (dims[0] ?? 0) + (dims[1] ?? 0));
    }
  }
  return PROCESS_BYTES + widest * maxRows * F32_BYTES;
}

function roundUp(tokens: number): number {
  return Math.ceil(tokens / CELL_STEP) * CELL_STEP;
}
