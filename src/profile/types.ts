import type { HookLevel, Phase, Role, RoleGroup } from "../observe/index.ts";

/** `noodle.profile.v1`. Names as in the JSON, units in the names. Written by the profiler, read by planner, simulator, report. */
export interface ProfileDocument {
  readonly schema: "noodle.profile.v1";
  readonly created_unix_ms: number;
  readonly noodlecore_version: string;
  readonly machine: ProfileMachine;
  readonly model: ProfileModel;
  readonly settings: ProfileSettings;
  /** True when the run ended before all cells were measured. */
  readonly partial: boolean;
  /** Why it is partial; null otherwise. */
  readonly partial_reason: string | null;
  readonly units: readonly ProfileRow[];
  /** One entry for each measured cell (phase, rows, context): what hooks cost and how well the parts add up. */
  readonly cells: readonly ProfileCell[];
  /** What was not measured, and why. */
  readonly skipped: readonly ProfileSkip[];
  readonly bottlenecks: readonly Bottleneck[];
  readonly cost_model: CostModelDocument;
  /** Words for people: the three things that matter first. Computed. */
  readonly summary: readonly string[];
}

export interface ProfileMachine {
  readonly name: string;
  readonly platform: string;
  readonly cpu_model: string;
  readonly cores: number;
  readonly cpu_features: readonly string[];
  /** Sizes of the caches of one core or shared, as the system tells; 0 = unknown. */
  readonly cache_bytes: { readonly l1d: number; readonly l2: number; readonly l3: number };
  readonly memory_total_bytes: number;
  /** Measured with the run's threads by reading an array far larger than the caches. */
  readonly memory_gb_per_s: number;
  /** How, in words. */
  readonly memory_measured_by: string;
  /** Measured: the largest rate of a big matrix product with the run's threads, of the model's main weight type. */
  readonly compute_gflops: number;
  /** How, in words. */
  readonly compute_measured_by: string;
  readonly engine_build: string;
  readonly engine_variant: string;
  /** `cpu` so far. */
  readonly device: string;
}

export interface ProfileModel {
  readonly name: string | null;
  readonly architecture: string;
  /** SHA-256 of the GGUF header; null for a shape that was never a file (`--like`). */
  readonly header_sha256: string | null;
  readonly path: string | null;
  readonly file_bytes: number;
  readonly unit_count: number;
  readonly embedding_length: number;
  readonly vocabulary: number;
  /** Main weight type of the blocks, for example `q4_0`. */
  readonly weight_type: string;
}

export interface ProfileSettings {
  /** Half-open range of units, `A:B`. */
  readonly units: string;
  readonly threads: number;
  readonly level: HookLevel;
  readonly prefill_rows: readonly number[];
  readonly decode_rows: readonly number[];
  readonly contexts: readonly number[];
  readonly budget_ms: number | null;
  /** True when layers of the same shapes with random values stood for the model's. */
  readonly synthetic: boolean;
  /** Synthetic only: blocks that were really built; null otherwise. */
  readonly synthetic_blocks: number | null;
}

export type Bound = "memory" | "compute" | "overhead";

/** One (unit, role, phase, rows, context). */
export interface ProfileRow {
  readonly unit: number;
  /** `embed`, `blk.0`, ..., `head`. */
  readonly name: string;
  /** Units with the same shapes and types have the same class: `embed`, `block`, `block.sliding`, ..., `head`. */
  readonly unit_class: string;
  readonly role: "total" | RoleGroup | Role;
  readonly phase: Phase;
  readonly rows: number;
  /** Positions in the KV cache before the step, each sequence. */
  readonly context: number;
  /** Samples kept. 0 for a unit inferred from others of its class (synthetic). */
  readonly n: number;
  /** Times of the whole step of `rows` rows. The hooks' own cost is NOT taken off; it stands in `sync_ms`. */
  readonly mean_ms: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly sd_ms: number;
  /** Estimated part of `p50_ms` that exists only because of the hooks (one synchronisation for each segment). */
  readonly sync_ms: number;
  readonly weights_bytes: number;
  readonly kv_bytes_per_token: number;
  readonly activation_bytes_in: number;
  readonly activation_bytes_out: number;
  /** Weight tensors, `attn_q.weight` -> [2048, 2048], in GGUF order of dimensions. */
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  readonly dtypes: Readonly<Record<string, string>>;
  readonly flops: number;
  /** Weights, KV and activations that the step has to read or write at least once. */
  readonly bytes_moved: number;
  /** flops / bytes_moved; 0 where nothing moves. */
  readonly arithmetic_intensity: number;
  /** `bytes_moved` and `flops` over the time without the hooks' cost. */
  readonly achieved_gb_per_s: number;
  readonly achieved_gflops: number;
  /** Weights, KV of the run's contexts and compute buffers that this unit needs. */
  readonly peak_bytes: number;
  readonly bound: Bound;
}

export interface ProfileCell {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
  readonly n: number;
  /** Median of the whole step with hooks at `settings.level`. */
  readonly step_ms: number;
  /** Median of the whole step without any hook, interleaved with the other; 0 where it was not measured. */
  readonly step_off_ms: number;
  /** Sum of the medians of the units that were measured. */
  readonly parts_ms: number;
  /** Time outside the parts: callbacks, and `outside_ms`. */
  readonly hook_ms: number;
  /** Part of `hook_ms` that a step costs without hooks too: making the graph, copying rows in and out. */
  readonly outside_ms: number;
  /** (step_ms - parts_ms - hook_ms) / step_ms: what the parts do not explain. */
  readonly missing_ratio: number;
  /** Time of graph nodes that have no role / step_ms (level `node`); 0 otherwise. */
  readonly other_ratio: number;
}

export interface ProfileSkip {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
  readonly reason: string;
}

/**
 * `weights`: another type of the weights; `threads`: more of them; `rows`: more sequences in a step; `chunk`: another
 * size of prompt chunks; `kv`: another type of keys and values; `cut`: a second machine.
 */
export type RemedyKind = "weights" | "threads" | "rows" | "chunk" | "kv" | "cut";

export interface Remedy {
  readonly kind: RemedyKind;
  readonly words: string;
  /** Estimated: share of the step's time that it would save, 0-1. */
  readonly gain_ratio: number;
  /** The figures that the estimate was made of, in words. */
  readonly because: string;
}

export interface Bottleneck {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
  /** Unit, or a class of units when they are alike (`block x 12`). */
  readonly unit: number | null;
  readonly name: string;
  readonly unit_class: string;
  readonly role: "total" | RoleGroup | Role;
  readonly ms: number;
  /** Of the step's time, 0-1. */
  readonly share: number;
  readonly bound: Bound;
  readonly words: string;
  readonly remedies: readonly Remedy[];
}

/** What planner and simulator read. A measured table for each class of units, hooks' cost taken off. */
export interface CostModelDocument {
  readonly schema: "noodle.cost_model.v1";
  readonly threads: number;
  /** What one engine call costs beside its units, whichever they are: making the graph, copying rows in and out. */
  readonly step_overhead_ms: { readonly decode: number; readonly prefill: number };
  readonly classes: readonly CostClass[];
}

export interface CostClass {
  readonly name: string;
  /** Units of this class in the whole model, measured or not. */
  readonly units: readonly number[];
  readonly weights_bytes: number;
  readonly kv_bytes_per_token: number;
  readonly decode: CostTable;
  readonly prefill: CostTable;
}

/** ms[i][j] is the time of one unit of the class at rows[i] and contexts[j]; null where it was not measured. */
export interface CostTable {
  readonly rows: readonly number[];
  readonly contexts: readonly number[];
  readonly ms: readonly (readonly (number | null)[])[];
  /** Mean absolute error, relative, when each inner cell is predicted from the others; null with too few cells. */
  readonly loo_error_ratio: number | null;
}
