import { z } from "zod";

/** What a problem may hold. Each limit is far above any cluster that exists and low enough that nothing overflows. */
export const PROBLEM_LIMITS = {
  /** Bytes of the JSON text. */
  textBytes: 16 * 2 ** 20,
  /** Brackets inside brackets. The schema needs five. */
  depth: 32,
  nodes: 4096,
  units: 4096,
  /** Unequal links. */
  pairs: 2 ** 20,
  replicas: 64,
  idLength: 128,
  ms: 1e12,
  bytes: 2 ** 53,
  tokens: 1e12,
  /** Below it a hop would take longer than any plan lives; above it nothing is to be gained. */
  bytesPerMsMin: 1e-6,
  bytesPerMsMax: 1e15,
  timeLimitS: 86_400,
} as const;

const milliseconds = z.number().min(0).max(PROBLEM_LIMITS.ms);
const bytes = z.number().min(0).max(PROBLEM_LIMITS.bytes);
const unitCount = z.int().min(1).max(PROBLEM_LIMITS.units);
const nodeId = z.string().min(1).max(PROBLEM_LIMITS.idLength);

const link = {
  latency_ms: milliseconds,
  bytes_per_ms: z.number().min(PROBLEM_LIMITS.bytesPerMsMin).max(PROBLEM_LIMITS.bytesPerMsMax),
};

const nodeSchema = z.strictObject({
  id: nodeId,
  memory_bytes: bytes.optional(),
  overhead_ms: milliseconds.optional(),
  unit_ms: z.array(milliseconds).max(PROBLEM_LIMITS.units).optional(),
  stage_ms_by_count: z.record(z.string().regex(/^[1-9][0-9]{0,3}$/), milliseconds).optional(),
  max_units: z.int().min(0).max(PROBLEM_LIMITS.units).optional(),
});

/**
 * `noodle.problem.v1` as it is written; what concerns more than one field is checked by `readProblem`. Times are
 * milliseconds, sizes bytes.
 */
export const problemSchema = z.strictObject({
  schema: z.literal("noodle.problem.v1").optional(),
  units: unitCount,
  unit_bytes: z.array(bytes).max(PROBLEM_LIMITS.units).optional(),
  kv_bytes_per_token: z.array(bytes).max(PROBLEM_LIMITS.units).optional(),
  cache_tokens: z.number().min(0).max(PROBLEM_LIMITS.tokens).optional(),
  tied_units: z
    .array(
      z
        .array(
          z
            .int()
            .min(0)
            .max(PROBLEM_LIMITS.units - 1),
        )
        .min(2)
        .max(PROBLEM_LIMITS.units),
    )
    .max(PROBLEM_LIMITS.units)
    .optional(),
  nodes: z.array(nodeSchema).min(1).max(PROBLEM_LIMITS.nodes),
  links: z
    .strictObject({
      default: z.strictObject(link),
      pairs: z
        .array(z.strictObject({ from: nodeId, to: nodeId, ...link }))
        .max(PROBLEM_LIMITS.pairs)
        .optional(),
    })
    .optional(),
  activation_bytes: bytes,
  return_bytes: bytes.optional(),
  objective: z.enum(["period", "latency", "pareto", "fewest_nodes"]),
  max_period_ms: milliseconds.optional(),
  replicas: z.int().min(1).max(PROBLEM_LIMITS.replicas).optional(),
  time_limit_s: z.number().min(0).max(PROBLEM_LIMITS.timeLimitS).optional(),
});

/**
 * The abstract problem: where to cut `units` units over unequal nodes. A stage of node v over units [a,b) takes
 * `overhead_ms + sum(unit_ms[a:b])`, or, for a node with a table, exactly the table's entry for b-a (a count that is
 * missing does not fit). A stage needs the bytes of its units (tied ones once) and `cache_tokens` of their KV.
 */
export type Problem = z.infer<typeof problemSchema>;
export type ProblemNode = Problem["nodes"][number];
export type Objective = Problem["objective"];
