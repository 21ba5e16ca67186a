import { must } from "../common/index.ts";
import { GREEDY, openStage } from "../engine/index.ts";
import type { MachineJob, MachineRates } from "./messages.ts";

/** Rows of the products: what a prompt's chunk may have. */
const ROWS = [256, 512];
const STEPS = 4;
const LIMIT_MS = 1500;

/**
 * Measures the largest rate at which the engine multiplies matrices of the model's main type: the feed-forward part of
 * a block with many rows, the best of a few steps.
 */
export async function measureComputeRate(
  job: MachineJob,
  threads: number,
): Promise<Pick<MachineRates, "computeGflops" | "computeRows">> {
  const maxRows = Math.max(...ROWS);
  const stage = await openStage({
    stageFile: job.probeFile,
    contextTokens: maxRows,
    parallel: 1,
    threads,
    maxRows,
    hookable: true,
  });
  try {
    stage.openSlot(0, GREEDY);
    const endMs = performance.now() + LIMIT_MS;
    let best = { computeGflops: 0, computeRows: must(ROWS[0], "rows") };
    for (const rows of ROWS) {
      const tokens = Int32Array.from({ length: rows }, (_, row) => row % 250);
      for (let step = 0; step < STEPS; step++) {
        if (best.computeGflops > 0 && performance.now() > endMs) return best;
        const runs = [{ slot: 0, position: 0, rows, output: "last" as const }];
        const { observation } = stage.forward({ runs, tokens, hidden: null }, { observe: "role" });
        stage.truncate(0, 0);
        if (observation === null || observation.learning) continue;
        // The last block drops the rows that nobody wants; the first computes all.
        const mlp = observation.segments.find(({ unit, role }) => unit === 1 && role === "mlp");
        const rate = mlp === undefined ? 0 : (rows * job.probeFlopsPerRow) / mlp.durationNs;
        if (rate > best.computeGflops) best = { computeGflops: rate, computeRows: rows };
      }
    }
    return best;
  } finally {
    stage.close();
  }
}
