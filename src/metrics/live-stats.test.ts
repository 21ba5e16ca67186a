import { describe, expect, test } from "vitest";
import { LiveStats } from "./live-stats.ts";
import { makeNode, makePlan, makeRequestEnd, makeRequestStart, makeStageStep, makeStep } from "./testing.ts";

const MS = 1e6;
const SECOND = 1e9;

function open(options: { windowSteps?: number; windowSeconds?: number } = {}) {
  const clock = { monoNs: 0 };
  return { clock, live: new LiveStats({ nowMonoNs: () => clock.monoNs, ...options }) };
}

describe("live figures", () => {
  test("are empty before anything happens", () => {
    const { live } = open();
    const document = live.snapshot();
    expect(document).toMatchObject({
      tokens_per_s: { prompt: 0, generated: 0 },
      requests: { running: 0, waiting: 0, finished: 0, failed: 0 },
      ttft_ms: null,
      itl_ms: null,
      last_step_age_ms: null,
      stages: [],
      bottleneck: null,
    });
  });

  test("follow requests from waiting to their end", () => {
    const { live } = open();
    live.onRequest(makeRequestStart("a"));
    live.onRequest(makeRequestStart("b"));
    live.onStep(makeStep({ requestIds: ["a"] }));
    expect(live.snapshot().requests).toEqual({ running: 1, waiting: 1, finished: 0, failed: 0 });
    live.onRequest(makeRequestEnd({ requestId: "a" }));
    live.onRequest(makeRequestEnd({ requestId: "b", finishReason: null, errorCode: "PEER_DEAD" }));
    expect(live.snapshot().requests).toEqual({ running: 0, waiting: 0, finished: 1, failed: 1 });
  });

  test("give the time to the first token and the gaps after it while the request runs", () => {
    const { live } = open();
    live.onRequest(makeRequestStart("a", 0));
    for (const receivedMonoNs of [500 * MS, 510 * MS, 530 * MS]) {
      live.onStep(makeStep({ requestIds: ["a"], sentMonoNs: receivedMonoNs - 9 * MS, receivedMonoNs }));
    }
    const { ttft_ms, itl_ms, step_ms } = live.snapshot();
    expect(ttft_ms).toEqual({ n: 1, p50: 500, p95: 500 });
    expect(itl_ms).toEqual({ n: 2, p50: 10, p95: 10 });
    expect(step_ms.decode).toEqual({ n: 3, p50: 9, p95: 9 });
  });

  test("give tokens for each second over the window, and none when it has passed", () => {
    const { clock, live } = open({ windowSeconds: 5 });
    live.onRequest(makeRequestStart());
    for (let second = 0; second < 20; second++) {
      const at = { sentMonoNs: second * SECOND, receivedMonoNs: second * SECOND + 1 };
      live.onStep(makeStep({ ...at, phase: "prefill", rows: 100, contextTokens: 15 }));
      for (let token = 0; token < 10; token++) live.onStep(makeStep(at));
    }
    clock.monoNs = 20 * SECOND;
    const busy = live.snapshot().tokens_per_s;
    expect(busy.generated).toBeCloseTo(10, 6);
    expect(busy.prompt).toBeCloseTo(100, 6);
    clock.monoNs = 40 * SECOND;
    expect(live.snapshot().tokens_per_s).toEqual({ prompt: 0, generated: 0 });
  });

  test("give a young cluster's rate over the time it has run", () => {
    const { clock, live } = open({ windowSeconds: 10 });
    live.onRequest(makeRequestStart());
    for (let token = 0; token < 20; token++) {
      const sentMonoNs = 100 * SECOND + token * 100 * MS;
      live.onStep(makeStep({ sentMonoNs, receivedMonoNs: sentMonoNs + 1 }));
    }
    clock.monoNs = 102 * SECOND;
    expect(live.snapshot().tokens_per_s.generated).toBeCloseTo(10, 6);
  });

  test("give each stage its times, share and name, and say when the last step was", () => {
    const { clock, live } = open();
    live.onPlan(makePlan());
    live.onNode(makeNode());
    live.onStep(makeStep({ sentMonoNs: 0, stages: [makeStageStep(1, { computeNs: 6 * MS }), makeStageStep(0)] }));
    clock.monoNs = 112 * MS;
    const { stages, last_step_age_ms } = live.snapshot();
    expect(last_step_age_ms).toBe(100);
    expect(stages.map(({ stage, node_name, units }) => [stage, node_name, units])).toEqual([
      [0, "host-a", "0:3"],
      [1, "node-1", "3:6"],
    ]);
    expect(stages[1]?.prefill).toBeNull();
    expect(stages[1]?.decode).toEqual({
      compute_ms: { n: 1, p50: 6, p95: 6 },
      queue_ms: { n: 1, p50: 0, p95: 0 },
      serialize_ms: { n: 1, p50: 0, p95: 0 },
      hop_ms: { n: 1, p50: 1, p95: 1 },
      share: 7 / 12,
    });
  });

  test("keep the last steps of a window alone", () => {
    const { live } = open({ windowSteps: 4 });
    for (const ms of [100, 100, 100, 1, 2, 3, 4]) {
      live.onStep(makeStep({ stages: [makeStageStep(0, { computeNs: ms * MS })] }));
    }
    const compute = live.snapshot().stages[0]?.decode?.compute_ms;
    expect(compute).toEqual({ n: 4, p50: 2, p95: 3 });
  });

  test("give the part of the time that a stage computes, 1 at most", () => {
    const { clock, live } = open({ windowSeconds: 10 });
    for (let second = 0; second < 10; second++) {
      const sentMonoNs = second * SECOND;
      const stages = [makeStageStep(0, { computeNs: 250 * MS }), makeStageStep(1, { computeNs: 3 * SECOND })];
      live.onStep(makeStep({ sentMonoNs, receivedMonoNs: sentMonoNs + 1, stages }));
    }
    clock.monoNs = 9.999 * SECOND;
    const [first, second] = live.snapshot().stages;
    expect(first?.busy_ratio).toBeCloseTo(0.25, 3);
    expect(second?.busy_ratio).toBe(1);
  });

  test("begin again with another plan", () => {
    const { live } = open();
    live.onPlan(makePlan());
    live.onStep(makeStep());
    live.onPlan({ ...makePlan(2), stages: [{ stage: 0, nodeId: "node-1", units: "0:6" }] });
    expect(live.snapshot()).toMatchObject({ stages: [], bottleneck: null, step_ms: { decode: null } });
  });
});

describe("the bottleneck", () => {
  const bottleneckOf = (
    stages: ReturnType<typeof makeStageStep>[],
    changes: Partial<ReturnType<typeof makeStep>> = {},
  ) => {
    const { live } = open();
    live.onNode(makeNode({ nodeId: "node-1", name: "host-b" }));
    for (let step = 0; step < 5; step++) live.onStep(makeStep({ stages, ...changes }));
    return live.snapshot().bottleneck;
  };

  test("is the stage that computes longest", () => {
    expect(bottleneckOf([makeStageStep(0), makeStageStep(1, { computeNs: 6 * MS })])).toEqual({
      phase: "decode",
      kind: "compute",
      stage: 1,
      node: "node-1",
      ms: 6,
      share: 0.5,
      words: "stage 1 on host-b takes 50% of a token: compute",
    });
  });

  test.each([
    ["hop", { hopNs: 8 * MS }, "the way into stage 1 on host-b takes 67% of a token: network"],
    ["queue", { queueNs: 9 * MS }, "stage 1 on host-b takes 75% of a token: waiting for its engine"],
    ["serialize", { serializeNs: 9 * MS }, "stage 1 on host-b takes 75% of a token: writing for the next stage"],
  ])("can be a %s", (kind, changes, words) => {
    expect(bottleneckOf([makeStageStep(0), makeStageStep(1, changes)])).toMatchObject({ kind, words });
  });

  test("is the coordinator where most of the time lies outside all stages", () => {
    const stages = [makeStageStep(0, { computeNs: MS, hopNs: null }), makeStageStep(1, { computeNs: MS, hopNs: null })];
    expect(bottleneckOf(stages)).toMatchObject({
      kind: "coordinator",
      stage: null,
      words: "the coordinator and the way back take 83% of a token",
    });
  });

  test("is that of the prefill while nothing was decoded", () => {
    const words = "stage 1 on host-b takes 50% of a prefill step: compute";
    const stages = [makeStageStep(0), makeStageStep(1, { computeNs: 6 * MS })];
    expect(bottleneckOf(stages, { phase: "prefill", rows: 8 })).toMatchObject({ phase: "prefill", words });
  });
});
