import { countWork } from "./count-work.ts";
import type { MeasuredCell, MeasuredPart } from "./measured.ts";
import { findBound, type Roofs } from "./roofline.ts";
import { roundFigure } from "./round.ts";
import type { ProfileCell, ProfileRow } from "./types.ts";

/** The rows of a cell: each unit's total, followed by its roles where they were told apart. */
export function makeRows(cell: MeasuredCell, roofs: Roofs): ProfileRow[] {
  return cell.totals.flatMap((total) => [
    makeRow(cell, total, roofs),
    ...cell.roles.filter((part) => part.unit === total.unit).map((part) => makeRow(cell, part, roofs)),
  ]);
}

function makeRow(cell: MeasuredCell, part: MeasuredPart, roofs: Roofs): ProfileRow {
  const { unit, role, statistics, syncMs, netMs } = part;
  const work = countWork(unit, role, cell);
  return {
    unit: unit.unit,
    name: unit.name,
    unit_class: unit.unitClass,
    role,
    phase: cell.phase,
    rows: cell.rows,
    context: cell.context,
    n: statistics.n,
    mean_ms: roundFigure(statistics.mean),
    p50_ms: roundFigure(statistics.p50),
    p95_ms: roundFigure(statistics.p95),
    sd_ms: roundFigure(statistics.sd),
    sync_ms: roundFigure(syncMs),
    weights_bytes: work.weightsBytes,
    kv_bytes_per_token: unit.kvBytesPerToken,
    activation_bytes_in: work.activationBytesIn,
    activation_bytes_out: work.activationBytesOut,
    shapes: Object.fromEntries(work.tensors.map((tensor) => [tensor.name, tensor.dims])),
    dtypes: Object.fromEntries(work.tensors.map((tensor) => [tensor.name, tensor.type])),
    flops: Math.round(work.flops),
    bytes_moved: Math.round(work.bytesMoved),
    arithmetic_intensity: work.bytesMoved > 0 ? roundFigure(work.flops / work.bytesMoved) : 0,
    achieved_gb_per_s: netMs > 0 ? roundFigure(work.bytesMoved / (netMs * 1e6)) : 0,
    achieved_gflops: netMs > 0 ? roundFigure(work.flops / (netMs * 1e6)) : 0,
    peak_bytes: Math.round(work.peakBytes),
    bound: findBound(netMs, work.flops, work.bytesMoved, roofs),
  };
}

/** What the hooks cost in a cell, and how much of its time the measured units explain. */
export function makeCell(cell: MeasuredCell): ProfileCell {
  const partsMs = cell.totals.reduce((sum, { statistics }) => sum + (statistics.n > 0 ? statistics.p50 : 0), 0);
  const ratioOfStep = (ms: number): number => (cell.stepMs > 0 ? roundFigure(ms / cell.stepMs) : 0);
  return {
    phase: cell.phase,
    rows: cell.rows,
    context: cell.context,
    n: cell.n,
    step_ms: roundFigure(cell.stepMs),
    step_off_ms: roundFigure(cell.stepOffMs ?? 0),
    parts_ms: roundFigure(partsMs),
    hook_ms: roundFigure(cell.hookMs),
    outside_ms: roundFigure(cell.outsideMs),
    missing_ratio: ratioOfStep(cell.stepMs - partsMs - cell.hookMs),
    other_ratio: ratioOfStep(cell.otherMs),
  };
}
