import type { ReportFigure } from "./document.ts";
import type { ReportInputs } from "./inputs.ts";
import { formatBytes, formatCount, formatMs, formatNumber, formatPercent } from "./numbers.ts";
import { chooseCell, listUnitCosts, nameCell, stepMsOf } from "./profile-view.ts";

const FIGURES = 4;

/** A few numbers for the head of the page: of the run first, then of the profile. */
export function chooseFigures(inputs: ReportInputs): readonly ReportFigure[] {
  return [...ofRun(inputs), ...ofProfile(inputs)].slice(0, FIGURES);
}

function ofRun({ run }: ReportInputs): ReportFigure[] {
  const digest = run?.digest ?? null;
  const figures: ReportFigure[] = [];
  const rate = run?.summary?.decodeTokensPerS ?? null;
  if (rate !== null)
    figures.push({ label: "tokens per second", value: formatNumber(rate), detail: "decode, one request" });
  if (digest?.requests.itlMs) {
    const { p50, p95 } = digest.requests.itlMs;
    figures.push({ label: "between tokens", value: formatMs(p50), detail: `95 of 100 within ${formatMs(p95)}` });
  }
  if (digest?.requests.ttftMs) {
    const { p50, count } = digest.requests.ttftMs;
    figures.push({
      label: "to the first token",
      value: formatMs(p50),
      detail: count === 1 ? "1 request" : `median of ${formatCount(count)} requests`,
    });
  } else if (run?.summary?.ttftMs) {
    figures.push({ label: "to the first token", value: formatMs(run.summary.ttftMs), detail: "1 request" });
  }
  const death = run?.summary?.death ?? null;
  if (death !== null && death.resumedMs !== null) {
    figures.push({
      label: "worker killed, next token",
      value: formatMs(death.resumedMs - death.killedMs),
      detail: `${death.equalTokens} of ${death.tokensMs.length} tokens equal`,
    });
  }
  return figures;
}

function ofProfile({ profiles }: ReportInputs): ReportFigure[] {
  const profile = profiles[0]?.document;
  if (profile === undefined) return [];
  const figures: ReportFigure[] = [];
  for (const phase of ["decode", "prefill"] as const) {
    const cell = chooseCell(profile, phase);
    if (cell === null) continue;
    const ms = stepMsOf(profile, cell, listUnitCosts(profile, cell));
    if (!(ms > 0)) continue;
    figures.push(
      phase === "decode"
        ? { label: "decode step, profiled", value: formatMs(ms), detail: nameCell(cell).replace(/^decode, /, "") }
        : {
            label: "prefill, profiled",
            value: `${formatNumber((1000 * cell.rows) / ms)} /s`,
            detail: `tokens, ${cell.rows} rows at once`,
          },
    );
  }
  const { model } = profile;
  const main = profile.bottlenecks[0];
  if (main !== undefined)
    figures.push({ label: "largest share", value: formatPercent(main.share), detail: `${main.name}, ${main.phase}` });
  if (model.file_bytes > 0)
    figures.push({
      label: "weights",
      value: formatBytes(model.file_bytes),
      detail: `${model.weight_type}, ${model.unit_count} units`,
    });
  return figures;
}
