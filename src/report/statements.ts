import { sum } from "../common/index.ts";
import { compareStages, DRIFT_FROM, findWorst } from "./charts/predicted-measured.ts";
import { nameStage } from "./charts/timeline.ts";
import type { ReportInputs } from "./inputs.ts";
import { cleanName } from "./names.ts";
import { capitalize, formatMs, formatCount, formatPercent, formatRatio } from "./numbers.ts";

const STATEMENTS = 3;
const MAX_WORDS_CHARS = 400;

interface Candidate {
  readonly words: string;
  /** Higher comes first. */
  readonly weight: number;
}

/** The things that matter most, at most three: of the run, of the profile, and where the two part. */
export function chooseStatements(inputs: ReportInputs): readonly string[] {
  const candidates = [...stateRun(inputs), ...stateDrift(inputs), ...stateProfile(inputs), ...stateFailures(inputs)];
  return candidates
    .sort((a, b) => b.weight - a.weight)
    .slice(0, STATEMENTS)
    .map(({ words }) => capitalize(cleanName(words, MAX_WORDS_CHARS)));
}

/** The profile's own words; they are sorted already, and the first is the bottleneck. */
function stateProfile({ profiles }: ReportInputs): Candidate[] {
  const profile = profiles[0]?.document;
  if (profile === undefined) return [];
  const words =
    profile.summary.length > 0 ? profile.summary : profile.bottlenecks.map((bottleneck) => bottleneck.words);
  return words.map((sentence, index) => ({ words: sentence, weight: 80 - 15 * index }));
}

/** Where the time of the run's decode steps went. */
function stateRun({ run }: ReportInputs): Candidate[] {
  const digest = run?.digest ?? null;
  const decode = digest?.decode ?? null;
  if (digest === null || decode === null || digest.stages.length === 0)
    return (run?.summary?.verdict ?? []).map((words, index) => ({ words, weight: 75 - 15 * index }));
  const total = decode.totalMs.p50;
  const compute = sum(digest.stages.map(({ computeMs }) => computeMs.p50));
  const slowest = digest.stages.reduce((best, stage) => (stage.computeMs.p50 > best.computeMs.p50 ? stage : best));
  const words =
    compute < total / 2
      ? `The run waited more than it computed: of ${formatMs(total)} for a decode step the stages computed ${formatPercent(compute / total)}; the rest went into queues, hops and the way back.`
      : `The run's slowest stage is ${nameStage(slowest)}: ${formatMs(slowest.computeMs.p50)} of the ${formatMs(total)} of a decode step (${formatPercent(slowest.computeMs.p50 / total)}); with steps in flight on all stages it sets the pace.`;
  return [{ words, weight: 70 }];
}

/** A stage that does not keep to the profile. */
function stateDrift({ profiles, run }: ReportInputs): Candidate[] {
  const profile = profiles[0];
  if (profile === undefined || run === null) return [];
  const stages = compareStages(profile, run);
  const worst = findWorst(stages);
  if (worst === null) return [];
  const ratio = worst.measuredMs / worst.predictedMs;
  if (Math.abs(ratio - 1) < DRIFT_FROM) {
    const measured = sum(stages.map(({ measuredMs }) => measuredMs));
    const predicted = sum(stages.map(({ predictedMs }) => predictedMs));
    return [
      {
        words: `The run keeps to its profile: all stages within ${formatPercent(DRIFT_FROM)}, together ${formatMs(measured)} where ${formatMs(predicted)} were predicted.`,
        weight: 40,
      },
    ];
  }
  return [
    {
      words: `${worst.name} takes ${formatRatio(ratio)} what the profile predicts for its units: ${formatMs(worst.measuredMs)} instead of ${formatMs(worst.predictedMs)}.`,
      weight: 72 + Math.min(15, 5 * Math.abs(Math.log2(ratio))),
    },
  ];
}

/** Requests that came to nothing outweigh every time. */
function stateFailures({ run }: ReportInputs): Candidate[] {
  const requests = run?.digest?.requests;
  if (requests === undefined || requests.failed === 0) return [];
  const all = requests.failed + requests.finished;
  return [
    {
      words: `${formatCount(requests.failed)} of ${formatCount(all)} requests failed (${formatPercent(requests.failed / all)}); the events below say why.`,
      weight: 100,
    },
  ];
}
