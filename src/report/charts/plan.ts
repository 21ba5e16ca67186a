import type { ReportChart } from "../document.ts";
import type { PlanForecast } from "../inputs.ts";
import { cleanName } from "../names.ts";
import { formatMs, formatNumber, formatPercent } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeBars, makePanel, makeTable } from "./parts.ts";

const PAINT = paintOf(0);
const MAX_CHARS = 300;

/** The stages of the plan, what they are expected to take, and the plans that it was chosen before. */
export function chartPlan(plan: PlanForecast | null): ReportChart | null {
  if (plan === null || plan.stages.length === 0) return null;
  const { stages, tokensPerS, itlMs, streams, binds, others, notes } = plan;
  const names = stages.map(({ node, units }) => cleanName(`${node}, ${units}`, 40));
  const [second] = others;
  const next =
    second === undefined
      ? ""
      : ` Next: ${cleanName(second.name, 60)}, ${formatNumber(second.tokensPerS)} tokens/s (${cleanName(second.stages, 80)}).`;
  return {
    id: "plan",
    title: "The plan",
    sentence: `${stages.length} stage${stages.length === 1 ? "" : "s"} for ${formatNumber(tokensPerS)} tokens/s of ${streams} stream${streams === 1 ? "" : "s"}, ${formatMs(itlMs)} from token to token; ${sayQuality(plan)}. What binds: ${cleanName(binds, MAX_CHARS)}.${next}`,
    note: notes.length === 0 ? null : cleanName(`${notes.join(". ")}.`, 2 * MAX_CHARS),
    legend: [],
    panels: [
      makePanel(
        "plan-stages",
        makeAxis("ms for one decode micro-batch"),
        makeAxis("", { kind: "category", reversed: true }),
        [
          makeBars("decode", PAINT, {
            horizontal: true,
            x: stages.map(({ decodeMs }) => decodeMs),
            y: names,
            hover: stages.map(({ decodeMs, why }, index) =>
              cleanName(`${names[index] ?? ""}: ${formatMs(decodeMs)}; ${why}`, MAX_CHARS),
            ),
          }),
        ],
        { height_px: 110 + 40 * stages.length, wide: true },
      ),
    ],
    table: makeTable(
      "The plan, its stages, and other plans",
      ["what", "stages", "#decode, ms", "#prefill, ms", "#busy", "#tokens/s", "#token to token, ms"],
      [
        ...stages.map(({ node, units, decodeMs, prefillMs, busyRatio }) => [
          cleanName(node, 40),
          units,
          formatNumber(decodeMs),
          formatNumber(prefillMs),
          formatPercent(busyRatio),
          "",
          "",
        ]),
        ["the plan", "", "", "", "", formatNumber(tokensPerS), formatNumber(itlMs)],
        ...others.map((other) => [
          cleanName(other.name, 60),
          cleanName(other.stages, 120),
          "",
          "",
          "",
          formatNumber(other.tokensPerS),
          other.itlMs === null ? "-" : formatNumber(other.itlMs),
        ]),
      ],
    ),
  };
}

function sayQuality({ bound }: PlanForecast): string {
  if (bound === null) return "no bound is known";
  if (bound.proven) return "proven: no plan that was asked for gives more";
  return bound.gap === null ? "not proven" : `at most ${formatPercent(bound.gap)} from the best possible`;
}
