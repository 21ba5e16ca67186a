import type { EventDigest, RunDigest } from "../digest/run-digest.ts";
import type { ReportChart } from "../document.ts";
import { cleanName } from "../names.ts";
import { formatCount, formatDuration, joinWords } from "../numbers.ts";
import { type Paint, paintOf } from "../paint.ts";
import { makeAxis, makeLegend, makePanel, makePoints, makeTable } from "./parts.ts";

const SEVERITIES: readonly { readonly name: string; readonly paint: Paint }[] = [
  { name: "error", paint: paintOf(3) },
  { name: "warning", paint: paintOf(1) },
  { name: "info", paint: paintOf(0) },
];
const MAX_DRAWN = 24;
const MAX_MESSAGE_CHARS = 160;

/** What happened once: workers that came and went, stages that failed, rows that were lost. */
export function chartEvents({ events, durationS }: RunDigest): ReportChart | null {
  if (events.length === 0) return null;
  const drawn = events.slice(0, MAX_DRAWN);
  const names = drawn.map(({ name }) => cleanName(name, 40));
  return {
    id: "events",
    title: "Events",
    sentence: describe(events),
    note: "Each kind of event at its first coming.",
    legend: SEVERITIES.filter(({ name }) => events.some(({ severity }) => severity === name)).map(({ name, paint }) =>
      makeLegend(name, "point", paint),
    ),
    panels: [
      makePanel(
        "events-plot",
        makeAxis("seconds since the first row", { range: [-durationS / 50, Math.max(durationS * 1.02, 1)] }),
        makeAxis("", { kind: "category", categories: names, reversed: true }),
        SEVERITIES.flatMap(({ name, paint }) => {
          const own = drawn.map((event, index) => ({ event, index })).filter(({ event }) => event.severity === name);
          if (own.length === 0) return [];
          return [
            makePoints(name, paint, {
              line: false,
              x: own.map(({ event }) => event.firstAtS),
              y: own.map(({ index }) => names[index] ?? ""),
              hover: own.map(({ event }) => `${formatCount(event.count)} x ${cleanName(event.lastMessage, 100)}`),
            }),
          ];
        }),
        { wide: true, height_px: 90 + 26 * drawn.length },
      ),
    ],
    table: makeTable(
      "Events by kind",
      ["event", "severity", "#times", "first after", "last message"],
      events.map(({ name, severity, count, firstAtS, lastMessage }) => [
        cleanName(name, 40),
        cleanName(severity, 20),
        formatCount(count),
        formatDuration(firstAtS),
        cleanName(lastMessage, MAX_MESSAGE_CHARS),
      ]),
    ),
  };
}

function describe(events: readonly EventDigest[]): string {
  const counts = SEVERITIES.flatMap(({ name }) => {
    const count = events.reduce((total, event) => total + (event.severity === name ? event.count : 0), 0);
    if (count === 0) return [];
    const plural = { error: "errors", warning: "warnings" }[name] ?? "notices";
    const single = { error: "error", warning: "warning" }[name] ?? "notice";
    return [`${formatCount(count)} ${count === 1 ? single : plural}`];
  });
  const worst = SEVERITIES.slice(0, 2).flatMap(({ name }) => events.filter(({ severity }) => severity === name))[0];
  const words =
    worst === undefined
      ? ""
      : ` The gravest: ${cleanName(worst.name, 40)}, ${cleanName(worst.lastMessage, MAX_MESSAGE_CHARS)}.`;
  return `${joinWords(counts)} in the run.${words}`;
}
