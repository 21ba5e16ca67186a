import { NoodleError } from "../common/index.ts";
import { type LogChain, mergeLogs } from "../logs/index.ts";
import { refineCosts, type Refinement, type StageSample } from "../loop/index.ts";
import type { CostModelDocument } from "../profile/index.ts";

/** Of very long logs the last so many calls are used. */
const MOST_SAMPLES = 20_000;
const LEAST_SAMPLES = 32;
const NS_PER_MS = 1e6;

/**
 * Refines a node's costs from the decode steps in a run's logs.
 *
 * @param chains of streams `step` and `plan`
 * @throws NoodleError `USAGE` where the logs hold too few steps of the node; `PROFILE_MISMATCH`; as `mergeLogs`
 */
export async function refineFromLogs(
  chains: readonly LogChain[],
  node: string,
  costs: CostModelDocument,
  signal: AbortSignal,
): Promise<Refinement & { readonly samples: number }> {
  const units = new Map<string, { readonly first: number; readonly end: number }>();
  const samples: StageSample[] = [];
  const seen = new Set<string>();
  for await (const rows of mergeLogs(chains, { signal })) {
    for (const row of rows) {
      if (row.schema === "noodle.plan.v1") {
        for (const stage of row.stages) {
          const [first = Number.NaN, end = Number.NaN] = stage.units.split(":").map(Number);
          units.set(JSON.stringify([row.run_id, row.epoch, stage.stage]), { first, end });
        }
      }
      if (row.schema !== "noodle.step.v1" || row.phase !== "decode") continue;
      // Looking inside costs time.
      if (row.level !== "off" && row.level !== "step") continue;
      for (const { stage, node_id: id, compute_ns: computeNs } of row.stages) {
        if (seen.size < 16) seen.add(id);
        const range = units.get(JSON.stringify([row.run_id, row.epoch, stage]));
        if (id !== node || range === undefined || Number.isNaN(range.first + range.end)) continue;
        const context = Math.max(0, row.context_tokens - 1);
        samples.push({ ...range, phase: "decode", rows: row.rows, context, ms: computeNs / NS_PER_MS });
        if (samples.length > 2 * MOST_SAMPLES) samples.splice(0, MOST_SAMPLES);
      }
    }
  }
  if (samples.length < LEAST_SAMPLES) {
    throw new NoodleError(
      "USAGE",
      `--refine ${node}=...: the logs hold ${samples.length} decode steps of it that nobody looked into, ${LEAST_SAMPLES} are needed; there are ${[...seen].join(", ") || "none of any node"}`,
    );
  }
  const used = samples.slice(-MOST_SAMPLES);
  return { ...refineCosts(costs, used), samples: used.length };
}
