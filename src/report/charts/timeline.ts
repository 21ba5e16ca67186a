import { sum } from "../../common/index.ts";
import type { RunDigest, StageDigest } from "../digest/run-digest.ts";
import type { TimelineStep } from "../digest/typical-stretch.ts";
import type { ReportChart } from "../document.ts";
import { cleanName } from "../names.ts";
import { capitalize, formatMs, formatNumber, formatPercent } from "../numbers.ts";
import { type Paint, paintOf } from "../paint.ts";
import { makeAxis, makeBars, makeLegend, makePanel, makeTable } from "./parts.ts";

const KINDS = ["way", "queue", "compute", "serialise"] as const;

type Kind = (typeof KINDS)[number];

const PAINTS: Readonly<Record<Kind, Paint>> = {
  way: paintOf(2),
  queue: paintOf(3),
  compute: paintOf(0),
  serialise: paintOf(4),
};

interface Piece {
  readonly lane: number;
  readonly kind: Kind;
  readonly startMs: number;
  readonly ms: number;
  readonly step: TimelineStep;
}

/** A stretch of the run as bars of time, a lane for each stage. */
export function chartTimeline(digest: RunDigest): ReportChart | null {
  const { timeline, stages, decode } = digest;
  const first = timeline[0];
  if (first === undefined || stages.length === 0 || decode === null) return null;
  const origin = Math.min(...timeline.map(({ sentMs }) => sentMs));
  const pieces = timeline.flatMap((step) => placeStep(step, stages.length, origin));
  const lanes = [...stages.map(nameStage), "way back"];
  const last = timeline.at(-1) ?? first;
  return {
    id: "timeline",
    title: "The pipeline, stage by stage",
    sentence: describe(digest),
    note: `Steps ${first.stepId} to ${last.stepId}, a stretch in the middle of what was seen. Clocks of different machines are never subtracted: a step begins when the coordinator sent it, its pieces are laid behind one another, and what they leave until its return is the way back.`,
    legend: KINDS.map((kind) => makeLegend(kind, "bar", PAINTS[kind])),
    panels: [
      makePanel(
        "timeline-plot",
        makeAxis("ms since the first step shown"),
        makeAxis("", { kind: "category", categories: lanes, reversed: true }),
        KINDS.map((kind) => {
          const own = pieces.filter((piece) => piece.kind === kind && piece.ms > 0);
          return makeBars(kind, PAINTS[kind], {
            horizontal: true,
            x: own.map(({ ms }) => ms),
            y: own.map(({ lane }) => lanes[lane] ?? ""),
            base: own.map(({ startMs }) => startMs),
            hover: own.map(
              ({ lane, ms, step }) =>
                `step ${step.stepId} (${step.phase}, ${step.rows} rows), ${lanes[lane] ?? ""}, ${kind}: ${formatMs(ms)}`,
            ),
          });
        }).filter(({ x }) => x.length > 0),
        { bars: "overlay", wide: true, height_px: 110 + 44 * lanes.length },
      ),
    ],
    table: makeTable(
      "Decode steps by stage: medians over the whole run, milliseconds",
      ["stage", "#way", "#queue", "#compute", "#compute, 95 of 100 below", "#serialise", "#steps"],
      stages.map((stage) => [
        nameStage(stage),
        formatNumber(stage.hopMs.p50),
        formatNumber(stage.queueMs.p50),
        formatNumber(stage.computeMs.p50),
        formatNumber(stage.computeMs.p95),
        formatNumber(stage.serializeMs.p50),
        String(stage.computeMs.count),
      ]),
    ),
  };
}

/** `stage 1, worker-3, 4:9`. */
export function nameStage({ stage, worker, units }: Pick<StageDigest, "stage" | "worker" | "units">): string {
  return [`stage ${stage + 1}`, cleanName(worker, 24), ...(units === null ? [] : [cleanName(units, 16)])].join(", ");
}

function placeStep(step: TimelineStep, stageCount: number, originMs: number): Piece[] {
  const pieces: Piece[] = [];
  let atMs = step.sentMs - originMs;
  const place = (lane: number, kind: Kind, ms: number): void => {
    const length = Math.max(0, ms);
    pieces.push({ lane, kind, startMs: atMs, ms: length, step });
    atMs += length;
  };
  for (const stage of [...step.stages].sort((a, b) => a.stage - b.stage)) {
    if (stage.stage < 0 || stage.stage >= stageCount) continue;
    place(stage.stage, "way", stage.hopMs ?? 0);
    place(stage.stage, "queue", stage.queueMs);
    place(stage.stage, "compute", stage.computeMs);
    place(stage.stage, "serialise", stage.serializeMs);
  }
  place(stageCount, "way", step.receivedMs - originMs - atMs);
  return pieces;
}

function describe({ stages, decode }: RunDigest): string {
  const total = decode?.totalMs.p50 ?? 0;
  const compute = sum(stages.map(({ computeMs }) => computeMs.p50));
  const queue = sum(stages.map(({ queueMs }) => queueMs.p50));
  const rest = Math.max(0, total - compute - queue);
  const slowest = stages.reduce((best, stage) => (stage.computeMs.p50 > best.computeMs.p50 ? stage : best));
  const part = (ms: number): string => `${formatMs(ms)} (${formatPercent(total > 0 ? ms / total : 0)})`;
  return `A decode step takes ${formatMs(total)} from sending to its token: ${part(compute)} computing on ${stages.length} stage${stages.length === 1 ? "" : "s"}, ${part(queue)} in queues, ${part(rest)} on the way. ${capitalize(nameStage(slowest))} computes longest: ${formatMs(slowest.computeMs.p50)}.`;
}
