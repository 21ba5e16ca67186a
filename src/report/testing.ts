import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type LayerRecord, type RequestRecord, type StepRecord, writeStageTimes } from "../observe/index.ts";
import { completeProfile, type ProfileDocument } from "../profile/index.ts";
import { makeRandom, simulateProfile, type Simulation } from "../profile/testing.ts";

/** A profile of a machine that does what the roofline says. */
export function makeProfile(simulation: Partial<Simulation> = {}): ProfileDocument {
  return completeProfile(simulateProfile({ model: { like: "gpt2-124m" }, ...simulation }));
}

export interface RunShape {
  readonly steps: number;
  readonly requests: number;
  /** Units of each stage, `A:B`. */
  readonly stages: readonly string[];
  /** Every how many steps a step was looked into. @default 10 */
  readonly sampleEvery?: number;
  /** How much slower stage 1 is from the middle of the run on. @default 1 */
  readonly drift?: number;
  /** Of one unit in a decode step. @default 0.5 */
  readonly unitMs?: number;
}

const START_MONO_NS = 5e12;
export const START_UNIX_MS = 1_790_000_000_000;

export interface RunRecords {
  readonly steps: readonly StepRecord[];
  readonly layers: readonly LayerRecord[];
  readonly requests: readonly RequestRecord[];
}

/** What a pipeline would tell of a run: one request after another, each a prefill and decode steps of one row. */
export function makeRun(shape: RunShape): RunRecords {
  const { stages, sampleEvery = 10, drift = 1, unitMs = 0.5 } = shape;
  const random = makeRandom(7);
  const steps: StepRecord[] = [];
  const layers: LayerRecord[] = [];
  const requests: RequestRecord[] = [];
  const perRequest = Math.floor(shape.steps / shape.requests);
  let nowNs = START_MONO_NS;
  for (let request = 0; request < shape.requests; request++) {
    const startMonoNs = nowNs;
    const requestId = `r${request}`;
    const tokenTimes: number[] = [];
    for (let index = 0; index < perRequest; index++) {
      const stepId = steps.length;
      const isPrefill = index === 0;
      const rows = isPrefill ? 32 : 1;
      const slow = stepId > shape.steps / 2 ? drift : 1;
      let atNs = nowNs + 20_000;
      const timings = stages.map((units, stage) => {
        const [first = 0, end = 1] = units.split(":").map(Number);
        const unitNs = unitMs * 1e6 * (isPrefill ? 12 : 1) * (stage === 1 ? slow : 1);
        const unitTimes = Array.from({ length: end - first }, () => Math.round(unitNs * (1 + 0.1 * random())));
        const computeNs = unitTimes.reduce((total, ns) => total + ns, 50_000);
        const timing = {
          stage,
          nodeId: `worker-${stage + 1}`,
          queueNs: Math.round(60_000 * (1 + random())),
          computeNs,
          serializeNs: 15_000,
          hopNs: stage === 0 ? null : Math.round(300_000 * (1 + random())),
          bytesIn: 4096 * rows,
        };
        if (!isPrefill && stepId % sampleEvery === 0) {
          let startNs = 0;
          layers.push({
            stepId,
            epoch: 1,
            requestIds: [requestId],
            stage,
            nodeId: timing.nodeId,
            phase: "decode",
            rows,
            contextTokens: 32 + index,
            level: "layer",
            segments: unitTimes.map((durationNs, offset) => {
              startNs += durationNs;
              return { unit: first + offset, role: "total", startNs: startNs - durationNs, durationNs, nodes: 20 };
            }),
            stepNs: computeNs,
            hookNs: 50_000,
            arrivalNodeNs: atNs,
            computeStartNodeNs: atNs + timing.queueNs,
            computeEndNodeNs: atNs + timing.queueNs + computeNs,
            sentNodeNs: atNs + timing.queueNs + computeNs + 15_000,
          });
        }
        atNs += (timing.hopNs ?? 0) + timing.queueNs + computeNs + timing.serializeNs;
        return timing;
      });
      const receivedMonoNs = Math.round(atNs + 250_000);
      steps.push({
        stepId,
        epoch: 1,
        requestIds: [requestId],
        sampledRequestIds: [requestId],
        phase: isPrefill ? "prefill" : "decode",
        rows,
        contextTokens: 32 + index,
        sentMonoNs: nowNs,
        receivedMonoNs,
        stages: timings,
        level: "step",
      });
      tokenTimes.push(receivedMonoNs);
      nowNs = receivedMonoNs + 30_000;
    }
    requests.push({
      type: "end",
      requestId,
      monoNs: nowNs,
      startMonoNs,
      firstStepMonoNs: startMonoNs,
      firstTokenMonoNs: tokenTimes[0] ?? null,
      promptTokens: 32,
      generatedTokens: tokenTimes.length,
      interTokenNs: tokenTimes.slice(1).map((ns, index) => ns - (tokenTimes[index] ?? ns)),
      finishReason: "length",
      errorCode: null,
      temperature: 0,
      seed: 1,
      maxTokens: perRequest,
    });
  }
  return { steps, layers, requests };
}

/** Wall time of a moment of `makeRun`. */
export function toUnixMs(monoNs: number): number {
  return START_UNIX_MS + (monoNs - START_MONO_NS) / 1e6;
}

/** Writes a run folder: `plan.json` and the streams that a coordinator would have written; returns the log's bytes. */
export function writeRunFolder(folder: string, shape: RunShape, copies = 1): number {
  const logs = join(folder, "logs");
  mkdirSync(logs, { recursive: true });
  const split = shape.stages.join(",");
  writeFileSync(
    join(folder, "plan.json"),
    JSON.stringify({
      schema: "noodle.split.v1",
      model: "made up",
      split,
      threads: 1,
      stages: shape.stages.map((units) => ({ units, bytes: 1000 })),
    }),
  );
  const { steps, layers, requests } = makeRun(shape);
  const spanNs = (requests.at(-1)?.monoNs ?? 0) - START_MONO_NS;
  const seqs = new Map<string, number>();
  let bytes = 0;
  const append = (stream: string, monoNs: readonly number[], bodies: readonly object[]): void => {
    const first = seqs.get(stream) ?? 0;
    seqs.set(stream, first + bodies.length);
    const text = bodies
      .map((body, index) => {
        const mono = Math.round(monoNs[index] ?? 0);
        const common = {
          schema: `noodle.${stream}.v1`,
          seq: first + index,
          mono_ns: mono,
          time_unix_ns: Math.round(toUnixMs(mono) * 1e6),
          run_id: "run-1",
          producer_id: "coordinator",
        };
        return `${JSON.stringify({ ...common, ...body })}\n`;
      })
      .join("");
    appendFileSync(join(logs, `coordinator.${stream}.000000.jsonl`), text);
    bytes += text.length;
  };
  append(
    "plan",
    [START_MONO_NS],
    [
      {
        event_type: "plan",
        epoch: 1,
        split,
        hash: "ab".repeat(32),
        reason: "first plan",
        stages: shape.stages.map((units, stage) => ({ stage, node_id: `worker-${stage + 1}`, units })),
      },
    ],
  );
  append(
    "node",
    shape.stages.map(() => START_MONO_NS),
    shape.stages.map((units, stage) => ({
      event_type: "node",
      node_id: `worker-${stage + 1}`,
      name: `worker-${stage + 1}`,
      units,
      state: "ready",
      rss_bytes: 2e8,
      weights_bytes: 5e7,
      kv_bytes: 1e7,
      compute_bytes: 2e6,
      sessions: 1,
    })),
  );
  for (let copy = 0; copy < copies; copy++) {
    const shiftNs = copy * spanNs;
    const shiftStep = copy * steps.length;
    append(
      "step",
      steps.map((step) => (step.receivedMonoNs ?? step.sentMonoNs) + shiftNs),
      steps.map((step) => writeStep(step, shiftNs, shiftStep)),
    );
    append(
      "layer",
      layers.map((layer) => layer.sentNodeNs + shiftNs),
      layers.map((layer) => writeLayer(layer, shiftStep)),
    );
    append(
      "request",
      requests.map(({ monoNs }) => monoNs + shiftNs),
      requests.map((request) => writeRequest(request, shiftNs, copy)),
    );
  }
  return bytes;
}

function writeStep(step: StepRecord, shiftNs: number, shiftStep: number): object {
  const sent = Math.round(step.sentMonoNs + shiftNs);
  const received = Math.round(step.receivedMonoNs + shiftNs);
  return {
    event_type: "step",
    step_id: step.stepId + shiftStep,
    epoch: step.epoch,
    request_ids: step.requestIds,
    sampled_request_ids: step.sampledRequestIds,
    phase: step.phase,
    rows: step.rows,
    context_tokens: step.contextTokens,
    level: step.level,
    sent_mono_ns: sent,
    received_mono_ns: received,
    duration_ns: received - sent,
    stages: step.stages.map(writeStageTimes),
  };
}

function writeLayer(layer: LayerRecord, shiftStep: number): object {
  return {
    event_type: "layer",
    step_id: layer.stepId + shiftStep,
    epoch: layer.epoch,
    request_ids: layer.requestIds,
    stage: layer.stage,
    node_id: layer.nodeId,
    phase: layer.phase,
    rows: layer.rows,
    context_tokens: layer.contextTokens,
    level: layer.level,
    step_ns: layer.stepNs,
    hook_ns: layer.hookNs,
    arrival_node_ns: Math.round(layer.arrivalNodeNs),
    compute_start_node_ns: Math.round(layer.computeStartNodeNs),
    compute_end_node_ns: Math.round(layer.computeEndNodeNs),
    sent_node_ns: Math.round(layer.sentNodeNs),
    part: 0,
    parts: 1,
    segments: layer.segments.map((segment) => ({
      unit: segment.unit,
      role: segment.role,
      start_ns: segment.startNs,
      duration_ns: segment.durationNs,
      nodes: segment.nodes,
    })),
  };
}

function writeRequest(request: RequestRecord, shiftNs: number, copy: number): object {
  if (request.type === "start") return {};
  const shift = (ns: number | null): number | null => (ns === null ? null : Math.round(ns + shiftNs));
  return {
    event_type: "end",
    request_id: `${request.requestId}-${copy}`,
    start_mono_ns: shift(request.startMonoNs),
    first_step_mono_ns: shift(request.firstStepMonoNs),
    first_token_mono_ns: shift(request.firstTokenMonoNs),
    end_mono_ns: shift(request.monoNs),
    duration_ns: Math.round(request.monoNs - request.startMonoNs),
    time_to_first_token_ns: Math.round((request.firstTokenMonoNs ?? request.startMonoNs) - request.startMonoNs),
    prompt_tokens: request.promptTokens,
    generated_tokens: request.generatedTokens,
    inter_token_count: request.interTokenNs.length,
    inter_token_ns: request.interTokenNs.map(Math.round),
    finish_reason: request.finishReason,
    error_code: request.errorCode,
    temperature: request.temperature,
    seed: request.seed,
    max_tokens: request.maxTokens,
  };
}
