import { createHash } from "node:crypto";
import { findNonFinite } from "./runs.ts";
import { GREEDY, type Stage, type StageInput } from "./types.ts";
import { NoodleError } from "../common/index.ts";

/** Rows of the prefill and of the decode step that the canary runs: one of each kind of call. */
const CANARY_ROWS = [5, 1];

/**
 * Runs a fixed input through a stage and hashes what comes out. Equal for all holders of the same units with the same
 * build, CPU variant and threads, and from run to run. Uses slot 0, which must be free.
 *
 * @throws NoodleError `NON_FINITE` when weights hold NaN or infinity
 */
export function hashCanary(stage: Stage): string {
  const hash = createHash("sha256");
  const { info } = stage;
  stage.openSlot(0, GREEDY);
  try {
    let position = 0;
    for (const rows of CANARY_ROWS) {
      const hiddenRows = info.units.first === info.unitCount - 1 ? 1 : rows;
      const input: StageInput = {
        runs: [{ slot: 0, position, rows, output: "last" }],
        tokens: Int32Array.from({ length: rows }, (_, i) => ((position + i) * 7 + 1) % Math.max(1, info.nVocab || 64)),
        hidden: info.hasEmbedding ? null : fillPattern(hiddenRows * info.nEmbd, position),
      };
      const output = stage.forward(input, { wantLogits: true });
      const values = output.hidden ?? output.sampled[0]?.logits ?? new Float32Array();
      const bad = findNonFinite(values);
      if (bad >= 0)
        throw new NoodleError(
          "NON_FINITE",
          `the canary's output holds ${values[bad]}: weights of units ${info.units.first}:${info.units.end} are damaged`,
        );
      hash.update(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      position += rows;
    }
  } finally {
    stage.closeSlot(0);
  }
  return hash.digest("hex");
}

/** Values in -1 .. 1 that every machine makes alike: a linear congruence, scaled by a power of two. */
export function fillPattern(count: number, seed: number): Float32Array {
  const values = new Float32Array(count);
  let state = (seed * 2654435761 + 12345) >>> 0;
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state >>> 8) / 2 ** 23 - 1;
  }
  return values;
}
