import type { NodeRecord, PlanRecord, RequestRecord, StageStepRecord, StepRecord } from "../observe/index.ts";

/** One `name{labels} value` line. */
export interface ExpositionSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ExpositionFamily {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly samples: ExpositionSample[];
}

const SUFFIXES: Readonly<Record<string, readonly string[]>> = {
  counter: [""],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count"],
};

/**
 * Reads Prometheus' text format 0.0.4, more strictly than Prometheus does: each family has HELP, then TYPE, then its
 * samples; nothing comes twice; histograms are whole and cumulative; numbers are numbers. For tests.
 *
 * @throws Error naming the line
 */
export function parseExposition(text: string): ReadonlyMap<string, ExpositionFamily> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, ExpositionFamily>();
  const seen = new Set<string>();
  let help: { name: string; text: string } | undefined;
  let family: ExpositionFamily | undefined;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const comment = /^# (HELP|TYPE) ([a-zA-Z_][a-zA-Z0-9_]*) (.+)$/.exec(line);
    if (comment !== null) {
      const [, kind, name = "", rest = ""] = comment;
      if (kind === "HELP") {
        help = { name, text: rest };
        continue;
      }
      if (help?.name !== name) throw new Error(`TYPE without HELP before it: ${line}`);
      if (families.has(name) || !Object.hasOwn(SUFFIXES, rest))
        throw new Error(`a family twice or of no type: ${line}`);
      family = { name, help: help.text, type: rest, samples: [] };
      families.set(name, family);
      continue;
    }
    const sample = parseSample(line);
    if (family === undefined || !SUFFIXES[family.type]?.some((suffix) => sample.name === `${family?.name}${suffix}`)) {
      throw new Error(`a sample outside its family: ${line}`);
    }
    const key = `${sample.name}${writeLabels(sample.labels)}`;
    if (seen.has(key)) throw new Error(`the same series twice: ${line}`);
    seen.add(key);
    family.samples.push(sample);
  }
  for (const each of families.values()) if (each.type === "histogram") checkHistogram(each);
  return families;
}

/** The value of one series; undefined where it is not shown. */
export function findSample(
  families: ReadonlyMap<string, ExpositionFamily>,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): number | undefined {
  const wanted = writeLabels(labels);
  for (const family of families.values()) {
    for (const sample of family.samples) {
      if (sample.name === name && writeLabels(sample.labels) === wanted) return sample.value;
    }
  }
  return undefined;
}

function writeLabels(labels: Readonly<Record<string, string>>): string {
  const names = Object.keys(labels).sort();
  return JSON.stringify(names.map((name) => [name, labels[name]]));
}

function parseSample(line: string): ExpositionSample {
  const match = /^([a-zA-Z_][a-zA-Z0-9_]*)(?:\{(.*)\})? (\S+)$/.exec(line);
  if (match === null) throw new Error(`no sample: ${line}`);
  const [, name = "", labelText = "", valueText = ""] = match;
  const labels: Record<string, string> = {};
  let rest = labelText;
  while (rest !== "") {
    const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/.exec(rest);
    if (label === null) throw new Error(`no labels: ${line}`);
    const [whole, key = "", value = ""] = label;
    if (Object.hasOwn(labels, key)) throw new Error(`a label twice: ${line}`);
    labels[key] = value.replaceAll(/\\([\\"n])/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped));
    rest = rest.slice(whole.length);
  }
  const value = valueText === "+Inf" ? Number.POSITIVE_INFINITY : Number(valueText);
  if (Number.isNaN(value)) throw new Error(`no number: ${line}`);
  return { name, labels, value };
}

function checkHistogram(family: ExpositionFamily): void {
  const last = new Map<string, { bound: number; count: number }>();
  for (const { name, labels, value } of family.samples) {
    const { le, ...others } = labels;
    const key = writeLabels(others);
    if (name.endsWith("_bucket")) {
      const bound = le === "+Inf" ? Number.POSITIVE_INFINITY : Number(le);
      const before = last.get(key) ?? { bound: Number.NEGATIVE_INFINITY, count: 0 };
      if (!(bound > before.bound) || value < before.count)
        throw new Error(`${family.name}: bucket ${le} is out of order`);
      last.set(key, { bound, count: value });
    } else if (name.endsWith("_count")) {
      const infinite = last.get(key);
      if (infinite?.bound !== Number.POSITIVE_INFINITY || infinite.count !== value) {
        throw new Error(`${family.name}: the count is not that of the last bucket`);
      }
    }
  }
}

const MS = 1e6;

/** A decode step through two stages: 2 + 6 ms compute, 1 ms way in each, 12 ms in all. */
export function makeStep(changes: Partial<StepRecord> = {}): StepRecord {
  const { sentMonoNs = 1000 * MS, requestIds = ["r1"], phase = "decode" } = changes;
  return {
    stepId: 1,
    epoch: 1,
    requestIds,
    sampledRequestIds: phase === "decode" ? requestIds : [],
    phase,
    rows: 1,
    contextTokens: 17,
    sentMonoNs,
    receivedMonoNs: sentMonoNs + 12 * MS,
    stages: [makeStageStep(0, { computeNs: 2 * MS }), makeStageStep(1, { computeNs: 6 * MS })],
    level: "step",
    ...changes,
  };
}

export function makeStageStep(stage: number, changes: Partial<StageStepRecord> = {}): StageStepRecord {
  return {
    stage,
    nodeId: `node-${stage}`,
    queueNs: 0,
    computeNs: 2 * MS,
    serializeNs: 0,
    hopNs: MS,
    bytesIn: 100,
    ...changes,
  };
}

export function makeRequestStart(requestId = "r1", monoNs = 0): Extract<RequestRecord, { type: "start" }> {
  return { type: "start", requestId, monoNs, promptTokens: 16, maxTokens: 8, prompt: null };
}

/** Queued 0.5 s, first token after 1.5 s, three tokens 0.25 s apart, 2 s in all. */
export function makeRequestEnd(
  changes: Partial<Extract<RequestRecord, { type: "end" }>> = {},
): Extract<RequestRecord, { type: "end" }> {
  return {
    type: "end",
    requestId: "r1",
    monoNs: 2000 * MS,
    startMonoNs: 0,
    firstStepMonoNs: 500 * MS,
    firstTokenMonoNs: 1500 * MS,
    promptTokens: 16,
    generatedTokens: 3,
    interTokenNs: [250 * MS, 250 * MS],
    finishReason: "length",
    errorCode: null,
    temperature: 0.5,
    seed: 7,
    maxTokens: 3,
    ...changes,
  };
}

export function makeNode(changes: Partial<NodeRecord> = {}): NodeRecord {
  return {
    nodeId: "node-0",
    name: "host-a",
    units: "0:3",
    state: "ready",
    rssBytes: 1000,
    weightsBytes: 600,
    kvBytes: 200,
    computeBytes: 100,
    sessions: 1,
    ...changes,
  };
}

export function makePlan(epoch = 1): PlanRecord {
  return {
    epoch,
    split: "0:3,3:6",
    stages: [
      { stage: 0, nodeId: "node-0", units: "0:3" },
      { stage: 1, nodeId: "node-1", units: "3:6" },
    ],
    reason: "start",
  };
}
