import { NoodleError } from "../../common/index.ts";
import { CostModel } from "../../profile/index.ts";
import type { ChartPanel, LegendItem, ReportChart } from "../document.ts";
import type { NamedProfile, RunInputs } from "../inputs.ts";
import { cleanName, nameUnitNumber } from "../names.ts";
import { formatMs, formatNumber, formatPercent, formatRatio } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";

const PREDICTED = paintOf(0);
const MEASURED = paintOf(1);
const UNIT_HEIGHT_PX = 320;
/** Differences below this are noise of a machine that does other things too. */
export const DRIFT_FROM = 0.1;

export interface PredictedMeasured {
  readonly name: string;
  readonly predictedMs: number;
  readonly measuredMs: number;
  /** What was predicted lies outside of what was measured. */
  readonly extrapolated: boolean;
}

interface MeasuredStage {
  readonly name: string;
  readonly units: string | null;
  readonly ms: number;
}

/** Each stage's decode step of one row as the profile predicts it, beside what the run took. */
export function compareStages({ document }: NamedProfile, run: RunInputs): readonly PredictedMeasured[] {
  const context = Math.max(0, (run.digest?.decode?.contextTokens ?? 1) - 1);
  return tolerateMismatch(() => {
    const model = new CostModel(document.cost_model);
    return measuredStages(run).flatMap(({ name, units, ms }) => {
      const range = parseUnits(units);
      if (range === null || !(ms > 0)) return [];
      const { ms: predictedMs, extrapolated } = model.predictStage(range, { phase: "decode", rows: 1, context });
      return predictedMs > 0 ? [{ name, predictedMs, measuredMs: ms, extrapolated }] : [];
    });
  });
}

/** Each unit's time in sampled steps beside its prediction. */
export function compareUnits({ document }: NamedProfile, run: RunInputs): readonly PredictedMeasured[] {
  const context = Math.max(0, (run.digest?.decode?.contextTokens ?? 1) - 1);
  return tolerateMismatch(() => {
    const model = new CostModel(document.cost_model);
    return (run.digest?.units ?? []).flatMap(({ unit, ms }) => {
      if (!(ms.p50 > 0)) return [];
      const { ms: predictedMs, extrapolated } = model.predict(unit, { phase: "decode", rows: 1, context });
      const name = nameUnitNumber(unit, document.model.unit_count);
      return predictedMs > 0 ? [{ name, predictedMs, measuredMs: ms.p50, extrapolated }] : [];
    });
  });
}

/** What the profile predicted beside what the run measured, by stage and by unit. */
export function chartPredictedMeasured(profile: NamedProfile, run: RunInputs): ReportChart | null {
  const stages = compareStages(profile, run);
  const units = compareUnits(profile, run);
  if (stages.length === 0 && units.length === 0) return null;
  const extrapolated = [...stages, ...units].filter((entry) => entry.extrapolated).length;
  return {
    id: "predicted-measured",
    title: "Predicted and measured",
    sentence: [describe("stage", stages), describe("unit", units)].filter((words) => words !== "").join(" "),
    note: [
      "Decode steps of one row, medians. The prediction is the profile's cost model at the context in the middle of the run; units were measured in sampled steps, with the cost of looking.",
      extrapolated > 0 ? `${extrapolated} predictions lie outside of what was measured.` : "",
    ]
      .filter((words) => words !== "")
      .join(" "),
    legend: [],
    panels: [...drawStages(stages, units.length > 0 ? UNIT_HEIGHT_PX : 0), ...drawUnits(units)],
    table: makeTable(
      "Predicted and measured time of a decode step of one row",
      ["of", "#predicted, ms", "#measured, ms", "#measured / predicted"],
      [...stages, ...units].map(({ name, predictedMs, measuredMs }) => [
        name,
        formatNumber(predictedMs),
        formatNumber(measuredMs),
        formatRatio(measuredMs / predictedMs),
      ]),
    ),
  };
}

/** The entry whose measurement lies farthest from its prediction, as a ratio. */
export function findWorst(entries: readonly PredictedMeasured[]): PredictedMeasured | null {
  const drift = ({ predictedMs, measuredMs }: PredictedMeasured): number =>
    Math.abs(Math.log(measuredMs / predictedMs));
  return entries.reduce<PredictedMeasured | null>(
    (best, entry) => (best === null || drift(entry) > drift(best) ? entry : best),
    null,
  );
}

function describe(what: string, entries: readonly PredictedMeasured[]): string {
  const worst = findWorst(entries);
  if (worst === null) return "";
  const errors = entries.map(({ predictedMs, measuredMs }) => Math.abs(predictedMs - measuredMs) / measuredMs);
  const mean = errors.reduce((total, error) => total + error, 0) / errors.length;
  const plural = entries.length === 1 ? `1 ${what} was` : `${entries.length} ${what}s were`;
  return `${plural} predicted with a mean error of ${formatPercent(mean)}; farthest off is ${worst.name}: ${formatMs(worst.measuredMs)} measured, ${formatRatio(worst.measuredMs / worst.predictedMs)} the predicted ${formatMs(worst.predictedMs)}.`;
}

function drawStages(stages: readonly PredictedMeasured[], leastHeightPx: number): ChartPanel[] {
  if (stages.length === 0) return [];
  const names = stages.map(({ name }) => name);
  const predicted = stages.map(({ predictedMs }) => predictedMs);
  const measured = stages.map(({ measuredMs }) => measuredMs);
  return [
    makePanel(
      "predicted-stages",
      makeAxis("ms for one step"),
      makeAxis("", { kind: "category", reversed: true }),
      [
        makeBars("predicted", PREDICTED, {
          horizontal: true,
          x: predicted,
          y: names,
          hover: stages.map(({ name, predictedMs }) => `${name}, predicted: ${formatMs(predictedMs)}`),
        }),
        makeBars("measured", MEASURED, {
          horizontal: true,
          x: measured,
          y: names,
          hover: stages.map(({ name, measuredMs }) => `${name}, measured: ${formatMs(measuredMs)}`),
        }),
      ],
      {
        title: "by stage",
        bars: "group",
        height_px: Math.max(110 + 52 * stages.length, leastHeightPx),
        legend: makeLegends("bar"),
      },
    ),
  ];
}

function drawUnits(units: readonly PredictedMeasured[]): ChartPanel[] {
  if (units.length === 0) return [];
  const names = units.map(({ name }) => name.replace(/^block /, "").replace("embedding", "embed"));
  const hover = (words: string, pick: (entry: PredictedMeasured) => number): string[] =>
    units.map((entry) => `${entry.name}, ${words}: ${formatMs(pick(entry))}`);
  return [
    makePanel(
      "predicted-units",
      makeAxis("unit", { kind: "category" }),
      makeAxis("ms for one step"),
      [
        makePoints("predicted", PREDICTED, {
          line: false,
          x: names,
          y: units.map(({ predictedMs }) => predictedMs),
          hover: hover("predicted", ({ predictedMs }) => predictedMs),
        }),
        makePoints("measured", MEASURED, {
          line: false,
          x: names,
          y: units.map(({ measuredMs }) => measuredMs),
          hover: hover("measured", ({ measuredMs }) => measuredMs),
        }),
      ],
      { title: "by unit", height_px: UNIT_HEIGHT_PX, wide: units.length > 40, legend: makeLegends("point") },
    ),
  ];
}

function makeLegends(mark: "bar" | "point"): readonly LegendItem[] {
  return [makeLegend("predicted", mark, PREDICTED), makeLegend("measured", mark, MEASURED)];
}

function measuredStages({ digest, summary, plan }: RunInputs): readonly MeasuredStage[] {
  if (digest !== null && digest.stages.length > 0) {
    return digest.stages.map((stage) => ({
      name: `stage ${stage.stage + 1}, ${cleanName(stage.worker, 24)}`,
      units: stage.units ?? plan?.stages[stage.stage]?.units ?? null,
      ms: (stage.oneRowComputeMs ?? stage.computeMs).p50,
    }));
  }
  return (summary?.stages ?? []).map(({ node, units, computeMsP50 }, index) => ({
    name: `stage ${index + 1}, ${cleanName(node, 24)}`,
    units: units ?? plan?.stages[index]?.units ?? null,
    ms: computeMsP50,
  }));
}

function parseUnits(units: string | null): { readonly first: number; readonly end: number } | null {
  const match = /^(\d{1,6}):(\d{1,6})$/.exec(units ?? "");
  if (match === null) return null;
  const [first, end] = [Number(match[1]), Number(match[2])];
  return first < end ? { first, end } : null;
}

/** A profile of other units than those that ran predicts nothing; the report then says so by leaving the chart out. */
function tolerateMismatch(compare: () => readonly PredictedMeasured[]): readonly PredictedMeasured[] {
  try {
    return compare();
  } catch (error) {
    if (error instanceof NoodleError && (error.code === "PROFILE_MISMATCH" || error.code === "PROFILE_INVALID"))
      return [];
    throw error;
  }
}
