import { NoodleError } from "../common/index.ts";
import type { ModelWork } from "../profile/index.ts";
import type { PlacementModel, PlanWorkload } from "./plan-types.ts";

/** A workload with everything said. */
export type CompiledWorkload = Required<PlanWorkload>;

const MAX_STREAMS = 65_536;
const MAX_CONTEXT = 2 ** 24;
const PROMPT_TOKENS = 128;
const MAX_ROWS = 512;

/** @throws NoodleError `USAGE` for figures out of range, `CONTEXT_EXCEEDED` for more than the model was made for */
export function compileWorkload(workload: PlanWorkload, { description, work }: PlacementModel): CompiledWorkload {
  const { streams, contextTokens, determinism = "recorded" } = workload;
  check("streams", streams, 1, MAX_STREAMS);
  check("context", contextTokens, 2, MAX_CONTEXT);
  const trained = description.contextLength;
  if (trained > 0 && contextTokens > trained) {
    throw new NoodleError(
      "CONTEXT_EXCEEDED",
      `a context of ${contextTokens} tokens; the model was made for ${trained} at most`,
      { details: { contextTokens, limit: trained } },
    );
  }
  const maxRows = check("maxRows", workload.maxRows ?? MAX_ROWS, 1, 65_536);
  const half = Math.floor(contextTokens / 2);
  return {
    streams,
    contextTokens,
    meanContextTokens: check("meanContextTokens", workload.meanContextTokens ?? half, 0, contextTokens),
    promptTokens: check(
      "prompt-tokens",
      workload.promptTokens ?? Math.max(1, Math.min(PROMPT_TOKENS, half)),
      1,
      contextTokens - 1,
    ),
    determinism,
    align: determinism === "strict" ? check("align", workload.align ?? expectAlign(work), 1, 64) : 1,
    maxRows,
    windowedCache: workload.windowedCache ?? false,
  };
}

function check(name: string, value: number, min: number, max: number): number {
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new NoodleError("USAGE", `${name} is ${value}; it must be a whole number from ${min} to ${max}`);
}

/**
 * Rows of the blocks in which the kernels of the engine's release compute rows alike, by weight type: others than these
 * do not care how many rows there are. A worker finds out for itself what holds on its machine.
 */
const ALIGN_OF_TYPES: Readonly<Record<string, number>> = { f16: 2, bf16: 2, q4_k: 4, q2_k: 4, iq4_xs: 8 };

function expectAlign(work: ModelWork): number {
  const types = work.units.flatMap((unit) =>
    unit.tensors.filter(({ use }) => use === "matrix" || use === "experts").map(({ type }) => type),
  );
  return [...new Set(types)].reduce((most, type) => Math.max(most, ALIGN_OF_TYPES[type] ?? 1), 1);
}

/** Rows that are computed for so many wanted ones: whole row-class blocks. */
export function padRows({ align }: Pick<CompiledWorkload, "align">, rows: number): number {
  return Math.ceil(rows / align) * align;
}

/** A number of micro-batches in flight, and the rows of the largest of them. */
export interface Batching {
  readonly rows: number;
  readonly inFlight: number;
}

/** All even ways to share the streams among micro-batches, in whole row-class blocks: the most rows first. */
export function listBatchings({ streams, align, maxRows }: CompiledWorkload): Batching[] {
  const byRows = new Map<number, Batching>();
  const blocks = Math.ceil(streams / align);
  for (let count = 1; count <= blocks; count++) {
    const rows = Math.min(Math.ceil(blocks / count) * align, streams);
    if (padRows({ align }, rows) > maxRows && count < blocks) continue;
    if (!byRows.has(rows)) byRows.set(rows, { rows, inFlight: Math.ceil(streams / rows) });
  }
  return [...byRows.values()];
}
