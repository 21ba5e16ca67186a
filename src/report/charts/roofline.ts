import { median } from "../../common/index.ts";
import type { ProfileDocument, ProfileRow } from "../../profile/index.ts";
import type { PointTrace, ReportChart } from "../document.ts";
import { nameClass, nameRole, nameUnit } from "../names.ts";
import { formatMs, formatNumber, formatPercent } from "../numbers.ts";
import { type Paint, paintOfClass, paintOfRole } from "../paint.ts";
import { type Cell, chooseCell, groupOfRow, rowsOf } from "../profile-view.ts";
import { listLogTicks, makeAxis, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";

const ROOF: Paint = { color: "ink", pattern: "", symbol: "circle", dash: "solid" };

/** How far each unit is from the two roofs that the machine was measured to have. */
export function chartRoofline(profile: ProfileDocument): ReportChart | null {
  const { memory_gb_per_s: memory, compute_gflops: compute } = profile.machine;
  if (!(memory > 0) || !(compute > 0)) return null;
  const phases = (["decode", "prefill"] as const).flatMap((phase) => {
    const cell = chooseCell(profile, phase);
    const rows = cell === null ? [] : pickRows(rowsOf(profile, cell));
    return cell === null || rows.length === 0 ? [] : [{ cell, rows }];
  });
  if (phases.length === 0) return null;
  const all = phases.flatMap(({ rows }) => rows);
  const intensities = all.map((row) => row.arithmetic_intensity);
  const ridge = compute / memory;
  const from = 10 ** Math.floor(Math.log10(Math.min(...intensities, ridge)));
  const to = 10 ** Math.ceil(Math.log10(Math.max(...intensities, ridge)) + 0.01);
  const lowest = Math.min(...all.map((row) => row.achieved_gflops), from * memory);
  const [bottom, top] = [10 ** Math.floor(Math.log10(lowest)), compute * 2];
  const keys = [...new Set(all.map(keyOf))];
  return {
    id: "roofline",
    title: "Roofline: what bounds each unit",
    sentence: phases.map(({ cell, rows }) => describe(cell, rows, memory, compute)).join(" "),
    note: `Roofs measured with ${profile.settings.threads} of ${profile.machine.cores} threads: ${formatNumber(memory)} GB/s from memory, ${formatNumber(compute)} GFLOP/s; they meet at ${formatNumber(ridge)} FLOP per byte. A point above its roof works from the caches.`,
    legend: [
      makeLegend("roof", "rule", ROOF),
      ...keys.map((key) => makeLegend(nameKey(key), "point", { ...paintOfKey(key, keys), symbol: "circle" })),
      ...phases.map(({ cell }) =>
        makeLegend(cell.phase, "point", { ...ROOF, color: "muted", symbol: symbolOf(cell.phase) }),
      ),
    ],
    panels: [
      makePanel(
        "roofline-plot",
        makeAxis("FLOP per byte moved", {
          kind: "log",
          from_zero: false,
          range: [from, to],
          ticks: listLogTicks(from, to),
        }),
        makeAxis("GFLOP/s", {
          kind: "log",
          from_zero: false,
          range: [bottom, top],
          ticks: listLogTicks(bottom, top),
        }),
        [
          drawRoof(from, ridge, to, memory, compute),
          ...phases.flatMap(({ cell, rows }) => keys.flatMap((key) => drawPoints(cell, rows, key, keys))),
        ],
        { height_px: 420, wide: true },
      ),
    ],
    table: makeTable(
      "Arithmetic intensity and rates reached",
      ["unit", "part", "phase", "#FLOP/byte", "#GFLOP/s", "#GB/s", "#of its roof", "bound"],
      phases.flatMap(({ cell, rows }) =>
        rows.map((row) => [
          nameUnit(row.name),
          nameRole(row.role),
          cell.phase,
          formatNumber(row.arithmetic_intensity),
          formatNumber(row.achieved_gflops),
          formatNumber(row.achieved_gb_per_s),
          formatPercent(row.achieved_gflops / roofAt(row.arithmetic_intensity, memory, compute)),
          row.bound,
        ]),
      ),
    ),
  };
}

/** Roles where they were timed, whole units otherwise; only what computes has a place on logarithmic axes. */
function pickRows(rows: readonly ProfileRow[]): readonly ProfileRow[] {
  const drawable = rows.filter((row) => row.arithmetic_intensity > 0 && row.achieved_gflops > 0);
  const roles = drawable.filter((row) => row.role !== "total");
  return roles.length > 0 ? roles : drawable;
}

function roofAt(intensity: number, memory: number, compute: number): number {
  return Math.min(compute, intensity * memory);
}

function describe({ phase }: Cell, rows: readonly ProfileRow[], memory: number, compute: number): string {
  const totalMs = rows.reduce((total, row) => total + row.p50_ms, 0);
  const boundMs = { memory: 0, compute: 0, overhead: 0 };
  for (const row of rows) boundMs[row.bound] += row.p50_ms;
  const bound = (["memory", "compute", "overhead"] as const).reduce((a, b) => (boundMs[b] > boundMs[a] ? b : a));
  const share = formatPercent(totalMs > 0 ? boundMs[bound] / totalMs : 0);
  const reached = median(
    rows
      .filter((row) => row.bound === bound)
      .map((row) => row.achieved_gflops / roofAt(row.arithmetic_intensity, memory, compute)),
  );
  const name = phase === "decode" ? "Decode" : "Prefill";
  const words = {
    memory: `is bound by memory for ${share} of its time`,
    compute: `is bound by arithmetic for ${share} of its time`,
    overhead: `loses ${share} of its time to overhead that neither roof explains`,
  }[bound];
  return `${name} ${words}; there it reaches ${formatPercent(reached)} of the roof (median).`;
}

function drawRoof(from: number, ridge: number, to: number, memory: number, compute: number): PointTrace {
  const x = [from, ridge, to];
  return makePoints("roof", ROOF, {
    markers: false,
    x,
    y: x.map((intensity) => roofAt(intensity, memory, compute)),
    hover: [
      `memory: ${formatNumber(memory)} GB/s`,
      `the roofs meet at ${formatNumber(ridge)} FLOP per byte`,
      `compute: ${formatNumber(compute)} GFLOP/s`,
    ],
  });
}

function drawPoints(cell: Cell, rows: readonly ProfileRow[], key: string, keys: readonly string[]): PointTrace[] {
  const points = rows.filter((row) => keyOf(row) === key);
  if (points.length === 0) return [];
  const paint = { ...paintOfKey(key, keys), symbol: symbolOf(cell.phase) };
  return [
    makePoints(`${nameKey(key)}, ${cell.phase}`, paint, {
      line: false,
      x: points.map((row) => row.arithmetic_intensity),
      y: points.map((row) => row.achieved_gflops),
      hover: points.map(
        (row) =>
          `${nameUnit(row.name)}, ${nameRole(row.role)}, ${cell.phase}: ${formatNumber(row.achieved_gflops)} GFLOP/s, ${formatNumber(row.achieved_gb_per_s)} GB/s, ${formatMs(row.p50_ms)}`,
      ),
    }),
  ];
}

/** What points are told apart by: the group of roles, or the class of units. */
function keyOf(row: ProfileRow): string {
  return row.role === "total" ? `class ${row.unit_class}` : groupOfRow(row.role);
}

function nameKey(key: string): string {
  return key.startsWith("class ") ? nameClass(key.slice(6)) : nameRole(key);
}

function paintOfKey(key: string, keys: readonly string[]): Paint {
  if (!key.startsWith("class ")) return paintOfRole(key);
  const classes = keys.map((other) => other.replace(/^class /, ""));
  return paintOfClass(key.slice(6), classes);
}

function symbolOf(phase: string): "circle" | "diamond-open" {
  return phase === "decode" ? "circle" : "diamond-open";
}
