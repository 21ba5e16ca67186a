import { formatMs } from "./quantities.ts";
import { renderTable } from "./table.ts";

/** A figure that was foretold, and what it turned out to be; null where one of them is not known. */
export interface PredictedFigure {
  readonly name: string;
  readonly unit: "ms" | "tokens/s";
  readonly predicted: number | null;
  readonly measured: number | null;
}

/** Signed: 0.05 = five hundredths more was foretold than was measured. */
export function errorOf({ predicted, measured }: PredictedFigure): number | null {
  return predicted === null || measured === null || measured === 0 ? null : predicted / measured - 1;
}

/** As documents have it. */
export function writeFigures(figures: readonly PredictedFigure[]): readonly object[] {
  return figures.map((figure) => ({ ...figure, error_ratio: errorOf(figure) }));
}

export function renderFigures(figures: readonly PredictedFigure[]): string {
  return renderTable(
    [
      { title: "" },
      { title: "predicted", align: "right" },
      { title: "measured", align: "right" },
      { title: "error", align: "right" },
    ],
    figures.map((figure) => [
      `${figure.name}, ${figure.unit}`,
      sayValue(figure, figure.predicted),
      sayValue(figure, figure.measured),
      sayError(errorOf(figure)),
    ]),
  );
}

function sayValue({ unit }: PredictedFigure, value: number | null): string {
  if (unit === "ms") return formatMs(value);
  return value === null ? "-" : value.toFixed(0);
}

function sayError(error: number | null): string {
  return error === null ? "-" : `${error < 0 ? "-" : "+"}${Math.abs(100 * error).toFixed(0)}%`;
}
