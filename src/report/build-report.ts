import { chartComparison } from "./charts/compare-profiles.ts";
import { chartCostCurves } from "./charts/cost-curves.ts";
import { chartEvents } from "./charts/events.ts";
import { chartForecast } from "./charts/forecast.ts";
import { chartHeatMap } from "./charts/heat-map.ts";
import { chartPlan } from "./charts/plan.ts";
import { chartPredictedMeasured } from "./charts/predicted-measured.ts";
import { chartRoofline } from "./charts/roofline.ts";
import { chartSeries } from "./charts/series.ts";
import { chartShare } from "./charts/share.ts";
import { chartSurvival } from "./charts/survival.ts";
import { chartTimeline } from "./charts/timeline.ts";
import { chartUnitLatency } from "./charts/unit-latency.ts";
import { chartUnitMemory } from "./charts/unit-memory.ts";
import { chartWorkerMemory } from "./charts/worker-memory.ts";
import type { ReportChart, ReportDocument, ReportSection } from "./document.ts";
import { chooseFigures } from "./figures.ts";
import type { ReportInputs } from "./inputs.ts";
import { listMissing } from "./missing.ts";
import { cleanName } from "./names.ts";
import { formatBytes, formatCount, formatDuration, formatNumber } from "./numbers.ts";
import { chooseRemedies } from "./remedies.ts";
import { chooseStatements } from "./statements.ts";

const MAX_WORDS_CHARS = 400;

/** Makes the whole report. Pure: the same inputs give the same document. */
export function buildReport(inputs: ReportInputs): ReportDocument {
  const [main, other] = inputs.profiles;
  const profile = main?.document ?? null;
  const run = inputs.run;
  const digest = run?.digest ?? null;
  const unitCount = profile?.model.unit_count ?? countUnits(run?.plan?.split ?? digest?.plans.at(-1)?.split ?? null);
  const sections = [
    makeSection("time", "Where the time goes", [
      profile && chartUnitLatency(profile),
      profile && chartShare(profile),
      profile && chartRoofline(profile),
    ]),
    makeSection("plan", "What was planned", [chartPlan(run?.plan?.forecast ?? null)]),
    makeSection("predicted", "Predicted against measured", [
      chartForecast(run?.summary?.figures ?? []),
      main !== undefined && run !== null ? chartPredictedMeasured(main, run) : null,
    ]),
    makeSection("run", "What the run did", [
      digest && chartTimeline(digest),
      digest && chartSeries(digest),
      digest?.heat ? chartHeatMap(digest.heat, unitCount) : null,
      digest && chartEvents(digest),
    ]),
    makeSection("survived", "What it survived", [chartSurvival(run?.summary?.death ?? null)]),
    makeSection("cost", "What a step costs", [profile && chartCostCurves(profile)]),
    makeSection("memory", "Where the memory goes", [
      profile && chartUnitMemory(profile),
      digest && chartWorkerMemory(digest.nodes),
    ]),
    makeSection("compared", "Side by side", [
      main !== undefined && other !== undefined ? chartComparison(main, other) : null,
    ]),
  ].filter(({ charts }) => charts.length > 0);
  return {
    schema: "noodle.report.v1",
    noodlecore_version: inputs.noodlecoreVersion,
    title: cleanName(profile?.model.name ?? run?.plan?.model ?? inputs.name),
    subtitle: describeInputs(inputs),
    statements: chooseStatements(inputs),
    remedies: chooseRemedies(inputs),
    figures: chooseFigures(inputs).map(({ label, value, detail }) => ({ label, value, detail: cleanName(detail) })),
    sections,
    missing: listMissing(inputs, sections).map(({ what, how }) => ({ what, how: cleanName(how, MAX_WORDS_CHARS) })),
    sources: inputs.sources.map((source) => ({
      name: cleanName(source.name, 120),
      detail: cleanName(source.detail, MAX_WORDS_CHARS),
      damaged: source.damaged,
    })),
  };
}

function makeSection(id: string, title: string, charts: readonly (ReportChart | null)[]): ReportSection {
  return { id, title, charts: charts.filter((chart) => chart !== null) };
}

function countUnits(split: string | null): number | null {
  const end = Number(/:(\d{1,6})$/.exec(split ?? "")?.[1] ?? Number.NaN);
  return Number.isFinite(end) ? end : null;
}

function describeInputs({ profiles, run }: ReportInputs): string {
  const profile = profiles[0]?.document;
  const words: string[] = [];
  if (profile !== undefined) {
    const { machine, model, settings } = profile;
    words.push(
      [
        cleanName(model.architecture, 40),
        cleanName(model.weight_type, 20),
        ...(model.file_bytes > 0 ? [formatBytes(model.file_bytes)] : []),
      ].join(", "),
      `${cleanName(machine.cpu_model, 60)}, ${settings.threads} of ${machine.cores} threads, ${formatNumber(machine.memory_gb_per_s)} GB/s`,
    );
    if (settings.synthetic) words.push("synthetic layers of the same shapes");
  }
  if (run?.plan) words.push(`split ${cleanName(run.plan.split, 60)}`);
  if (run?.digest && run.digest.steps > 0)
    words.push(`${formatCount(run.digest.steps)} steps in ${formatDuration(run.digest.durationS)}`);
  return words.join(" · ");
}
