import { chooseStrictShape } from "./choose-align.ts";
import type { RowClasses } from "./row-classes.ts";
import { costOf, type StepCosts } from "./step-costs.ts";
import type { Determinism, SchedulePolicy } from "./types.ts";

/** What a policy is chosen by. */
export interface PolicyFacts {
  readonly stages: number;
  /** KV sequences. */
  readonly slots: number;
  readonly determinism: Determinism;
  /** Of every stage; without any, rows are taken not to depend on one another. */
  readonly classes: readonly RowClasses[];
  /** Of a cost model, or as measured so far; null = nothing is known. */
  readonly costs: StepCosts | null;
  /** Rows that a stage takes at most. */
  readonly maxRows: number;
  /** What somebody wants to have otherwise. */
  readonly wanted?: {
    readonly decodeInFlight?: number | null;
    readonly prefillRows?: number | null;
    readonly mixedPrefillRows?: number | null;
    readonly maxDecodeRows?: number | null;
  };
}

const PREFILL_ROWS = 256;
const STRICT_PREFILL_ROWS = 32;
const MIXED_PREFILL_ROWS = 16;

/** A chunk between two decode micro-batches takes about as long as one of them, so that tokens come half as fast. */
const CHUNK_PER_DECODE = 1.25;

/** A lone row waits for every stage in turn: it leaves room for a longer chunk at the same loss. */
const CHUNK_PER_LONE_ROW = 2.5;

/** A shorter chunk costs nearly as much as this one. */
const LEAST_MIXED_ROWS = 4;

/** Decode rows that one micro-batch takes at most: beyond it, more rows take as much longer as they are more. */
const MAX_DECODE_ROWS = 64;

/** The engine's matrix kernels take rows by fours. */
const LEAST_DECODE_ROWS = 4;

/** A row in a micro-batch that is large enough costs no more than this many times what it costs in the largest. */
const DEAR_ROW = 1.25;

/** A way that takes this part of a stage's step is filled by one more micro-batch. */
const LONG_HOP = 0.3;

/**
 * The policy of a pipeline. As many decode micro-batches as stages keep every stage busy; one more hides ways that are
 * long against a step. Chunks that stand between decode micro-batches are about as long as these.
 */
export function choosePolicy(facts: PolicyFacts): SchedulePolicy {
  const { stages, slots, determinism, classes, costs, maxRows, wanted } = facts;
  const strict = determinism === "strict" ? chooseStrictShape(classes, slots) : null;
  const align = strict?.align ?? 1;
  const wantedRows = wanted?.maxDecodeRows ?? MAX_DECODE_ROWS;
  const most = Math.min(maxRows, MAX_DECODE_ROWS, wantedRows, slots, strict?.maxRows ?? MAX_DECODE_ROWS);
  const prefillRows = choosePrefillRows(wanted?.prefillRows ?? null, strict !== null, align, maxRows);
  return {
    stages,
    slots,
    determinism,
    align,
    pairFromCells: strict?.pairFromCells ?? null,
    decodeInFlight: wanted?.decodeInFlight ?? chooseInFlight(stages, costs),
    maxDecodeRows: Math.max(align, Math.floor(most / align) * align),
    prefillRows,
    mixedPrefillRows: Math.min(prefillRows, wanted?.mixedPrefillRows ?? chooseMixedRows(costs, stages, prefillRows)),
    maxHole: chooseMaxHole(costs),
    leastDecodeRows: Math.min(slots, chooseLeastDecodeRows(costs)),
  };
}

function choosePrefillRows(wanted: number | null, strict: boolean, align: number, maxRows: number): number {
  if (wanted !== null) return Math.min(wanted, maxRows);
  const rows = Math.min(maxRows, strict ? STRICT_PREFILL_ROWS : PREFILL_ROWS);
  return Math.max(1, strict && rows > align ? rows - (rows % align) : rows);
}

function chooseInFlight(stages: number, costs: StepCosts | null): number {
  const stepMs = costs === null ? null : costOf(costs.decode, costs.decode.at(-1)?.rows ?? 1);
  const hopMs = costs?.hopMs ?? null;
  const long = stepMs !== null && hopMs !== null && hopMs > LONG_HOP * stepMs;
  return stages + (long ? 1 : 0);
}

function chooseMixedRows(costs: StepCosts | null, stages: number, prefillRows: number): number {
  const decodeRows = costs?.decodeRows ?? costs?.decode.at(-1)?.rows ?? 1;
  const decodeMs = costs === null ? null : costOf(costs.decode, decodeRows);
  if (costs === null || decodeMs === null || costs.prefill.length === 0) return MIXED_PREFILL_ROWS;
  const mostMs = decodeMs * (stages > 1 && decodeRows < 1.5 ? CHUNK_PER_LONE_ROW : CHUNK_PER_DECODE);
  // A chunk takes about as long as a decode micro-batch of as many rows: that many are always right.
  let rows = Math.min(prefillRows, Math.max(LEAST_MIXED_ROWS, Math.ceil(decodeRows)));
  while (rows < prefillRows && (costOf(costs.prefill, rows + 1) ?? 0) <= mostMs) rows += 1;
  return rows < 16 ? rows : rows - (rows % 8);
}

/** The fewest rows whose cost for each is near the least that was measured. */
function chooseLeastDecodeRows(costs: StepCosts | null): number {
  const decode = costs?.decode ?? [];
  if ((decode.at(-1)?.rows ?? 0) < LEAST_DECODE_ROWS) return LEAST_DECODE_ROWS;
  const perRow = decode.map(({ rows, ms }) => ms / rows);
  const least = Math.min(...perRow);
  return decode[perRow.findIndex((ms) => ms <= DEAR_ROW * least)]?.rows ?? LEAST_DECODE_ROWS;
}

/** A pad over a hole costs another row, and saves the reading of all weights. */
function chooseMaxHole(costs: StepCosts | null): number {
  const one = costs === null ? null : costOf(costs.decode, 1);
  const four = costs === null ? null : costOf(costs.decode, 4);
  if (costs === null || costs.decode.length < 2 || one === null || four === null) return 1;
  const perRow = Math.max((four - one) / 3, one / 8);
  return Math.min(4, Math.max(0, Math.floor((one - perRow) / perRow)));
}
