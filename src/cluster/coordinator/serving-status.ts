import type { Determinism, SchedulePolicy } from "../../schedule/index.ts";
import type { BatchCounter } from "./batch-counter.ts";
import type { PrefixCounts } from "./slot-book.ts";
import type { QueueLimits } from "./waiting-line.ts";

/** How the cluster serves, as a part of the status document. Counts are since the start. */
export interface StatusServing {
  readonly determinism: Determinism;
  /** Sessions that have a slot. */
  readonly running: number;
  /** Requests that wait for one, and how many may. */
  readonly queued: number;
  readonly queue_limit: number;
  readonly queue_limit_per_client: number;
  /** Null before the first pipeline. */
  readonly policy: {
    readonly decode_in_flight: number;
    readonly max_decode_rows: number;
    readonly prefill_rows: number;
    readonly mixed_prefill_rows: number;
    readonly align: number;
    readonly pair_from_cells: number | null;
  } | null;
  readonly batches: {
    readonly decode: number;
    readonly decode_rows: number;
    readonly prefill: number;
    readonly prefill_rows: number;
    /** Dummy rows. */
    readonly pads: number;
  };
  readonly prefix_cache: {
    /** Idle slots that hold something, and how much. */
    readonly slots: number;
    readonly tokens: number;
    readonly bytes: number;
    /** Null = all idle slots. */
    readonly limit_bytes: number | null;
    readonly hits: number;
    readonly misses: number;
    readonly reused_tokens: number;
    /** Hits that a stage did not have any more. */
    readonly gone: number;
  };
}

export interface ServingFacts {
  readonly determinism: Determinism;
  readonly running: number;
  readonly queued: number;
  readonly queue: QueueLimits;
  readonly policy: SchedulePolicy | null;
  readonly counter: BatchCounter;
  readonly kept: { readonly slots: number; readonly tokens: number; readonly bytes: number };
  readonly prefixes: PrefixCounts;
  readonly prefixCacheBytes: number;
}

export function describeServing(facts: ServingFacts): StatusServing {
  const { policy, counter, kept, prefixes, queue, prefixCacheBytes } = facts;
  return {
    determinism: facts.determinism,
    running: facts.running,
    queued: facts.queued,
    queue_limit: queue.total,
    queue_limit_per_client: queue.perClient,
    policy:
      policy === null
        ? null
        : {
            decode_in_flight: policy.decodeInFlight,
            max_decode_rows: policy.maxDecodeRows,
            prefill_rows: policy.prefillRows,
            mixed_prefill_rows: policy.mixedPrefillRows,
            align: policy.align,
            pair_from_cells: policy.pairFromCells,
          },
    batches: {
      decode: counter.decode.batches,
      decode_rows: counter.decode.rows,
      prefill: counter.prefill.batches,
      prefill_rows: counter.prefill.rows,
      pads: counter.pads,
    },
    prefix_cache: {
      ...kept,
      limit_bytes: Number.isFinite(prefixCacheBytes) ? prefixCacheBytes : null,
      hits: prefixes.hits,
      misses: prefixes.misses,
      reused_tokens: prefixes.reusedTokens,
      gone: prefixes.gone,
    },
  };
}
