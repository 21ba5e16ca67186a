import type { ReportChart } from "../document.ts";
import type { SurvivedDeath } from "../inputs.ts";
import { cleanName } from "../names.ts";
import { formatDuration, formatMs, formatNumber } from "../numbers.ts";
import { paintOf } from "../paint.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";

const UNDISTURBED = paintOf(0);
const DISTURBED = paintOf(1);

/** A stream whose worker was killed while it was told: its tokens beside those of the run without the fault. */
export function chartSurvival(death: SurvivedDeath | null): ReportChart | null {
  if (death === null || death.tokensMs.length === 0) return null;
  const { killedMs, resumedMs, tokensMs, undisturbedMs } = death;
  const worker = cleanName(death.worker, 24);
  const parts = listParts(death);
  return {
    id: "survival",
    title: "A worker dies in the middle of a sentence",
    sentence: describe(death),
    note:
      resumedMs === null
        ? null
        : `Before: ${death.before.map((stage) => cleanName(stage, 40)).join(", ")}. Behind it: ${death.after.map((stage) => cleanName(stage, 40)).join(", ")}.`,
    legend: [makeLegend("without a fault", "line", UNDISTURBED), makeLegend(`${worker} killed`, "line", DISTURBED)],
    panels: [
      makePanel(
        "survival-tokens",
        makeAxis("ms since the request"),
        makeAxis("tokens"),
        [
          drawTokens("without a fault", UNDISTURBED, undisturbedMs),
          drawTokens(`${worker} killed`, DISTURBED, tokensMs),
        ],
        {
          wide: true,
          moments: [
            { x: killedMs, label: "killed" },
            ...(resumedMs === null ? [] : [{ x: resumedMs, label: "goes on" }]),
          ],
        },
      ),
      ...(parts.length === 0
        ? []
        : [
            makePanel(
              "survival-parts",
              makeAxis("ms"),
              makeAxis("", { kind: "category", reversed: true }),
              [
                makeBars("part", DISTURBED, {
                  horizontal: true,
                  x: parts.map(({ ms }) => ms),
                  y: parts.map(({ name }) => name),
                  text: parts.map(({ ms }) => formatMs(ms)),
                  hover: parts.map(({ name, ms }) => `${name}: ${formatMs(ms)}`),
                }),
              ],
              { title: "What the pause was made of", height_px: 90 + 40 * parts.length, wide: true },
            ),
          ]),
    ],
    table: makeTable(
      "What the death of a worker took",
      ["what", "#value"],
      [
        ["worker", `${worker}, units ${cleanName(death.units, 16)}`],
        ["cause that was found", cleanName(death.cause ?? "-", 40)],
        ["tokens before the kill", formatNumber(death.killedBehind)],
        ...parts.map(({ name, ms }) => [`${name}, ms`, formatNumber(ms)]),
        ["kill to next token, ms", resumedMs === null ? "-" : formatNumber(resumedMs - killedMs)],
        ["tokens computed again", death.tokensRefilled === null ? "-" : formatNumber(death.tokensRefilled)],
        ["tokens equal to the run without the fault", `${death.equalTokens} of ${tokensMs.length}`],
        ["logits equal", death.identicalLogits ? "yes" : "no"],
        ["keys and values equal", death.identicalKv ? "yes" : "no"],
      ],
    ),
  };
}

function drawTokens(name: string, paint: typeof DISTURBED, tokensMs: readonly number[]): ReturnType<typeof makePoints> {
  return makePoints(name, paint, {
    markers: false,
    x: tokensMs,
    y: tokensMs.map((_, index) => index + 1),
    hover: tokensMs.map((ms, index) => `${name}: token ${index + 1} after ${formatMs(ms)}`),
  });
}

function listParts(death: SurvivedDeath): readonly { readonly name: string; readonly ms: number }[] {
  return [
    { name: "finding out", ms: death.detectMs },
    { name: "another plan, its stages ready", ms: death.replanMs },
    { name: "computing tokens again", ms: death.refillMs },
    { name: "the next token", ms: death.nextTokenMs },
  ].flatMap(({ name, ms }) => (ms === null || ms === 0 ? [] : [{ name, ms }]));
}

function describe({ worker, units, killedMs, resumedMs, ...death }: SurvivedDeath): string {
  const who = `${cleanName(worker, 24)} (units ${cleanName(units, 16)}) was killed behind token ${death.killedBehind}`;
  const equal = `${death.equalTokens} of ${death.tokensMs.length} tokens are those of the run without the fault`;
  const bits = death.identicalLogits && death.identicalKv ? ", and so are all logits, keys and values" : "";
  const back = death.backMs === null ? "" : ` It had its units back after ${formatDuration(death.backMs / 1000)}.`;
  return resumedMs === null
    ? `${who}, when all tokens were under way already; ${equal}${bits}.`
    : `${who}; the stream went on ${formatMs(resumedMs - killedMs)} later, and ${equal}${bits}.${back}`;
}
