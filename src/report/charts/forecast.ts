import type { ReportChart } from "../document.ts";
import type { ComparedFigure } from "../inputs.ts";
import { cleanName } from "../names.ts";
import { formatNumber, formatPercent } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeBars, makePanel, makeTable } from "./parts.ts";

const PAINT = paintOf(1);

/** What was foretold before the run beside what the run measured: the signed error of each figure. */
export function chartForecast(figures: readonly ComparedFigure[]): ReportChart | null {
  const [first] = figures;
  if (first === undefined) return null;
  const worst = figures.reduce((a, b) => (Math.abs(errorOf(b)) > Math.abs(errorOf(a)) ? b : a), first);
  const mean = figures.reduce((total, figure) => total + Math.abs(errorOf(figure)), 0) / figures.length;
  const names = figures.map(({ name }) => cleanName(name));
  return {
    id: "forecast",
    title: "Foretold and measured",
    sentence: `${figures.length} figures were foretold before the run, with a mean error of ${formatPercent(mean)}; farthest off is ${cleanName(worst.name)}: ${sayValue(worst, worst.predicted)} foretold, ${sayValue(worst, worst.measured)} measured (${sayError(worst)}).`,
    note: "Stages as the profile has them; what a user sees as the simulation has it. Above 0 more was foretold than came.",
    legend: [],
    panels: [
      makePanel(
        "forecast-errors",
        makeAxis("predicted / measured - 1, %"),
        makeAxis("", { kind: "category", reversed: true }),
        [
          makeBars("error", PAINT, {
            horizontal: true,
            x: figures.map((figure) => 100 * errorOf(figure)),
            y: names,
            hover: figures.map(
              (figure) =>
                `${cleanName(figure.name)}: ${sayValue(figure, figure.predicted)} foretold, ${sayValue(figure, figure.measured)} measured`,
            ),
          }),
        ],
        { height_px: 110 + 30 * figures.length, wide: true },
      ),
    ],
    table: makeTable(
      "What was foretold, and what was measured",
      ["figure", "unit", "#predicted", "#measured", "#error"],
      figures.map((figure) => [
        cleanName(figure.name),
        cleanName(figure.unit, 20),
        formatNumber(figure.predicted),
        formatNumber(figure.measured),
        sayError(figure),
      ]),
    ),
  };
}

function errorOf({ predicted, measured }: ComparedFigure): number {
  return predicted / measured - 1;
}

function sayValue({ unit }: ComparedFigure, value: number): string {
  return `${formatNumber(value)} ${cleanName(unit, 20)}`;
}

function sayError(figure: ComparedFigure): string {
  const error = errorOf(figure);
  return `${error < 0 ? "-" : "+"}${formatPercent(Math.abs(error))}`;
}
