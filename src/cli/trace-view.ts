import type { PhaseSummary, RequestTrace, StageSummary } from "../trace/index.ts";
import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

const BAR_CHARS = 60;
/** In the order of the time in a stage. */
const PARTS = [
  { name: "hop", mark: "-", ms: (stage: StageSummary) => stage.hopMs },
  { name: "queue", mark: "~", ms: (stage: StageSummary) => stage.queueMs },
  { name: "compute", mark: "#", ms: (stage: StageSummary) => stage.computeMs },
  { name: "send", mark: "=", ms: (stage: StageSummary) => stage.serializeMs },
] as const;

/** Where the time of a phase's steps went: a table by stage, and the same as bars one behind another. */
export function renderPhase(title: string, phase: PhaseSummary): string {
  const { steps, rows, stepMs, stages, elsewhereMs } = phase;
  const table = renderTable(
    [
      { title: "stage" },
      { title: "units" },
      ...PARTS.map(({ name }) => ({ title: `${name} ms`, align: "right" as const })),
      { title: "share", align: "right" },
      { title: "slowest unit" },
    ],
    [
      ...stages.map((stage) => [
        `${stage.stage} ${stage.node}`,
        stage.units,
        ...PARTS.map(({ ms }) => formatMs(ms(stage))),
        formatShare(stage.share),
        renderSlowest(stage),
      ]),
      ["elsewhere", "", "", "", "", formatMs(elsewhereMs), formatShare(stepMs > 0 ? elsewhereMs / stepMs : 0), ""],
    ],
  );
  const count = `${steps} step${steps === 1 ? "" : "s"} of ${rows} rows together`;
  return `${title}: ${count}, ${formatMs(stepMs)} ms each (median)\n${table}\n${renderBars(phase)}`;
}

/** How far the nodes' clocks are from the coordinator's; empty where none is known. */
export function renderClocks(trace: RequestTrace): string {
  const clocks = trace.stages.flatMap(({ name, clock_offset_ns, clock_uncertainty_ns }) =>
    clock_offset_ns === null
      ? []
      : [`${name} ${(clock_offset_ns / 1e6).toFixed(3)} ± ${((clock_uncertainty_ns ?? 0) / 1e6).toFixed(3)} ms`],
  );
  return clocks.length === 0 ? "" : `clocks against the coordinator's: ${clocks.join(", ")}`;
}

function renderBars({ stages, stepMs, elsewhereMs }: PhaseSummary): string {
  const spentMs = stages.reduce((sum, stage) => sum + PARTS.reduce((part, { ms }) => part + ms(stage), 0), 0);
  const totalMs = Math.max(stepMs, spentMs + elsewhereMs);
  if (totalMs <= 0) return "";
  const column = (ms: number): number => Math.round((ms / totalMs) * BAR_CHARS);
  const nameWidth = Math.max(...stages.map((stage) => `${stage.stage} ${stage.node}`.length));
  let atMs = 0;
  const lines = stages.map((stage) => {
    let bar = " ".repeat(column(atMs));
    for (const { mark, ms } of PARTS) {
      atMs += ms(stage);
      bar += mark.repeat(Math.max(0, column(atMs) - bar.length));
    }
    return `${`${stage.stage} ${stage.node}`.padEnd(nameWidth)}  |${bar.padEnd(BAR_CHARS)}|`;
  });
  const legend = PARTS.map(({ name, mark }) => `${mark} ${name}`).join("   ");
  return `${lines.join("\n")}\n${" ".repeat(nameWidth)}   ${legend}   (${formatMs(totalMs)} ms)\n`;
}

function renderSlowest({ slowest }: StageSummary): string {
  if (slowest === null) return "-";
  const role = slowest.role === "total" ? "" : ` ${slowest.role}`;
  return `${slowest.unit}${role}, ${formatMs(slowest.ms)} ms`;
}

function formatShare(share: number): string {
  return `${(share * 100).toFixed(0)}%`;
}
