import { NoodleError } from "../common/index.ts";
import { findBottlenecks } from "./bottlenecks.ts";
import { buildCostModel } from "./build-cost-model.ts";
import { measureCells } from "./measured.ts";
import type { RawProfile } from "./raw.ts";
import { makeCell, makeRows } from "./rows.ts";
import { summariseProfile } from "./summary.ts";
import type { ProfileDocument } from "./types.ts";

/**
 * Makes the document of a run: rows, cells, bottlenecks in words, cost model. Pure: the same samples give the same
 * document.
 *
 * @throws NoodleError `PROFILE_INVALID` when nothing was measured, or the samples do not belong together
 */
export function completeProfile(raw: RawProfile): ProfileDocument {
  const cells = measureCells(raw);
  if (cells.length === 0) throw new NoodleError("PROFILE_INVALID", "no step was measured, so there is no profile");
  const { machine, settings } = raw;
  const roofs = { memoryGbPerS: machine.memory_gb_per_s, computeGflops: machine.compute_gflops };
  const bottlenecks = findBottlenecks({ cells, work: raw.work, machine, settings });
  const documentCells = cells.map(makeCell);
  const partial = raw.partialReason !== null;
  return {
    schema: "noodle.profile.v1",
    created_unix_ms: raw.createdUnixMs,
    noodlecore_version: raw.noodlecoreVersion,
    machine,
    model: raw.model,
    settings,
    partial,
    partial_reason: raw.partialReason,
    units: cells.flatMap((cell) => makeRows(cell, roofs)),
    cells: documentCells,
    skipped: raw.skipped,
    bottlenecks,
    cost_model: buildCostModel(raw.work, cells, settings.threads),
    summary: summariseProfile(bottlenecks, documentCells, raw),
  };
}
