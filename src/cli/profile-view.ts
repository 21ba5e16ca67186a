import { sum } from "../common/index.ts";
import type { ProfileCell, ProfileDocument, ProfileRow } from "../profile/index.ts";
import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

/** With more units, blocks of one class share a line unless all are asked for. */
const MOST_UNITS = 64;

const ROLE_WORDS: Readonly<Record<string, string>> = {
  "embedding.token": "token embedding",
  "embedding.position": "position embedding",
};

/** Part of the head that is no layer: it gets a line below the table instead of one in it. */
const SAMPLING = "sampling";

/** A line of the table: one role of one unit, or of a class of units that are alike. */
interface ViewRow {
  readonly decode: ProfileRow | null;
  readonly prefill: ProfileRow | null;
  readonly units: readonly number[];
}

/** The document for a terminal: words first, then the figures they were taken from. Pure. */
export function renderProfile(document: ProfileDocument, showAll: boolean): string {
  return [
    renderWords(document),
    renderUnits(document, showAll),
    renderBottlenecks(document),
    renderCells(document),
    renderSkipped(document),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

function renderWords({ machine, model, settings, summary }: ProfileDocument): string {
  const name = model.name ?? model.path ?? model.architecture;
  const made = settings.synthetic ? `, ${settings.synthetic_blocks ?? 0} made-up blocks` : "";
  return [
    `${name}: ${model.architecture}, ${model.weight_type}, units ${settings.units} of ${model.unit_count}${made}`,
    `${machine.cpu_model}, ${settings.threads} of ${machine.cores} cores, engine ${machine.engine_build} (${machine.engine_variant})`,
    `memory ${figure(machine.memory_gb_per_s)} GB/s (${machine.memory_measured_by}); arithmetic ${figure(machine.compute_gflops)} GFLOP/s (${machine.compute_measured_by})`,
    "",
    ...summary,
    "",
  ].join("\n");
}

/** Decode of the fewest rows and prefill of the most, both at the shortest context that was measured. */
export function chooseViewCells(cells: readonly ProfileCell[]): {
  readonly decode: ProfileCell | null;
  readonly prefill: ProfileCell | null;
} {
  const ofPhase = (phase: ProfileCell["phase"], sign: 1 | -1): ProfileCell | null =>
    cells
      .filter((cell) => cell.phase === phase)
      .toSorted((a, b) => a.context - b.context || sign * (a.rows - b.rows))[0] ?? null;
  return { decode: ofPhase("decode", 1), prefill: ofPhase("prefill", -1) };
}

function renderUnits(document: ProfileDocument, showAll: boolean): string {
  const { decode, prefill } = chooseViewCells(document.cells);
  const decodeRows = rowsOf(document, decode);
  const prefillRows = rowsOf(document, prefill);
  const lines = joinRows(decodeRows.length > 0 ? decodeRows : prefillRows, decodeRows, prefillRows);
  const shown = showAll || document.model.unit_count <= MOST_UNITS ? lines : collapse(lines);
  const stepMs = sum(lines.map((line) => ownMs(line.decode)));
  const table = renderTable(
    [
      { title: "unit", align: "right" },
      { title: "name" },
      { title: "role" },
      { title: "decode ms", align: "right" },
      { title: "share", align: "right" },
      { title: "prefill ms/row", align: "right" },
      { title: "GB/s", align: "right" },
      { title: "GFLOP/s", align: "right" },
      { title: "bound" },
    ],
    shown
      .filter(({ decode: row, prefill: other }) => (row ?? other)?.role !== SAMPLING)
      .map((line) => renderLine(line, stepMs)),
  );
  return `${table}${explainTable(document, decode, prefill, lines)}`;
}

function explainTable(
  document: ProfileDocument,
  decode: ProfileCell | null,
  prefill: ProfileCell | null,
  lines: readonly ViewRow[],
): string {
  const sampling = lines.find((line) => line.decode?.role === SAMPLING)?.decode ?? null;
  const inferred = lines.some((line) => line.decode?.n === 0 || line.prefill?.n === 0);
  const words = [
    decode === null ? "" : `decode: ${decode.rows} row${decode.rows === 1 ? "" : "s"} at context ${decode.context}`,
    prefill === null ? "" : `prefill: ${prefill.rows} rows at context ${prefill.context}`,
    "hooks' cost taken off; GB/s and GFLOP/s are of decode where there is one",
    sampling === null ? "" : `${SAMPLING} takes another ${formatMs(ownMs(sampling))} ms`,
    inferred && document.settings.synthetic ? "~ marks units that others of their kind stood for" : "",
  ];
  return `${words.filter((part) => part !== "").join("; ")}\n`;
}

/** The finest rows that there are: roles, or whole units at level `layer`. */
function rowsOf(document: ProfileDocument, cell: ProfileCell | null): readonly ProfileRow[] {
  if (cell === null) return [];
  const rows = document.units.filter(
    (row) => row.phase === cell.phase && row.rows === cell.rows && row.context === cell.context,
  );
  return rows.filter(
    (row) => row.role !== "total" || !rows.some((other) => other.unit === row.unit && other.role !== "total"),
  );
}

function joinRows(
  leading: readonly ProfileRow[],
  decodeRows: readonly ProfileRow[],
  prefillRows: readonly ProfileRow[],
): ViewRow[] {
  const find = (rows: readonly ProfileRow[], like: ProfileRow): ProfileRow | null =>
    rows.find((row) => row.unit === like.unit && row.role === like.role) ?? null;
  return leading.map((row) => ({
    decode: find(decodeRows, row),
    prefill: find(prefillRows, row),
    units: [row.unit],
  }));
}

/** One line for each class and role, the first unit's figures standing for those of all. */
function collapse(lines: readonly ViewRow[]): ViewRow[] {
  const groups = new Map<string, ViewRow>();
  for (const line of lines) {
    const row = line.decode ?? line.prefill;
    const key = `${row?.unit_class ?? ""} ${row?.role ?? ""}`;
    const known = groups.get(key);
    groups.set(key, known === undefined ? line : { ...known, units: [...known.units, ...line.units] });
  }
  return [...groups.values()];
}

function renderLine({ decode, prefill, units }: ViewRow, stepMs: number): string[] {
  const row = decode ?? prefill;
  if (row === null) return [];
  const times = units.length > 1 ? ` x ${units.length}` : "";
  const mark = row.n === 0 ? "~" : "";
  return [
    String(row.unit),
    `${units.length > 1 ? row.unit_class : row.name}${times}`,
    nameRole(row),
    decode === null ? "-" : `${mark}${formatMs(ownMs(decode))}`,
    decode === null || stepMs === 0 ? "-" : `${((100 * ownMs(decode) * units.length) / stepMs).toFixed(1)}%`,
    prefill === null ? "-" : (ownMs(prefill) / prefill.rows).toFixed(4),
    figure(row.achieved_gb_per_s),
    figure(row.achieved_gflops),
    row.bound,
  ];
}

function nameRole({ unit_class, role }: ProfileRow): string {
  if (role === "norm" && unit_class === "head") return "final norm";
  return ROLE_WORDS[role] ?? role;
}

/** What a row takes without the hooks. */
function ownMs(row: ProfileRow | null): number {
  return row === null ? 0 : Math.max(0, row.p50_ms - row.sync_ms);
}

function renderBottlenecks({ bottlenecks }: ProfileDocument): string {
  if (bottlenecks.length === 0) return "";
  const lines = bottlenecks.flatMap((bottleneck) => [
    `- ${bottleneck.words}`,
    ...bottleneck.remedies.map(
      (remedy) => `    ${(100 * remedy.gain_ratio).toFixed(0).padStart(3)}%  ${remedy.words} (${remedy.because})`,
    ),
  ]);
  return ["what bounds it, and what would help (share of the step saved):", ...lines, ""].join("\n");
}

function renderCells({ cells, settings }: ProfileDocument): string {
  return renderTable(
    [
      { title: "cell" },
      { title: "rows", align: "right" },
      { title: "context", align: "right" },
      { title: "n", align: "right" },
      { title: "step ms", align: "right" },
      { title: `hooks (${settings.level})`, align: "right" },
      { title: "not explained", align: "right" },
      { title: "no role", align: "right" },
    ],
    cells.map((cell) => [
      cell.phase,
      String(cell.rows),
      String(cell.context),
      String(cell.n),
      formatMs(cell.step_off_ms > 0 ? cell.step_off_ms : cell.step_ms),
      cell.step_off_ms > 0 ? percent(cell.step_ms / cell.step_off_ms - 1) : "-",
      percent(cell.missing_ratio),
      percent(cell.other_ratio),
    ]),
  );
}

function renderSkipped({ skipped }: ProfileDocument): string {
  if (skipped.length === 0) return "";
  const byReason = new Map<string, string[]>();
  for (const { phase, rows, context, reason } of skipped) {
    const known = byReason.get(reason) ?? [];
    known.push(`${phase} ${rows}@${context}`);
    byReason.set(reason, known);
  }
  const lines = [...byReason].map(([reason, cells]) => `  ${cells.join(", ")}: ${reason}`);
  return ["skipped (rows@context):", ...lines, ""].join("\n");
}

function percent(ratio: number): string {
  return `${(100 * ratio).toFixed(1)}%`;
}

/** Three places that say something. */
function figure(value: number): string {
  if (value === 0) return "-";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3);
}
