import { create } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { ClusterObserver, LayerRecord, StepRecord } from "../../observe/index.ts";
import { StageTimingSchema, SampledTokenSchema, writeSessionId } from "../../protocol/index.ts";
import type { ReadObservation } from "./observation-reader.ts";
import { type StepFacts, StepRecorder } from "./step-recorder.ts";

function makeFacts(change: Partial<StepFacts> = {}): StepFacts {
  return { requestIds: ["r"], phase: "decode", rows: 1, contextTokens: 9, asked: null, ...change };
}

function makeSeen(stepId: number, stage: number, change: Partial<ReadObservation> = {}): ReadObservation {
  return {
    epoch: 7,
    stepId,
    stage,
    level: "layer",
    rows: 1,
    segments: [],
    stepNs: 5,
    hookNs: 1,
    learning: false,
    arrivalNs: 1,
    computeStartNs: 2,
    computeEndNs: 3,
    sentNs: 4,
    ...change,
  };
}

function startRecorder(every = 10, without: "onLayer" | null = null) {
  const steps: StepRecord[] = [];
  const layers: LayerRecord[] = [];
  let nowNs = 0;
  const observer: ClusterObserver = {
    onStep: (record) => void steps.push(record),
    ...(without === "onLayer" ? {} : { onLayer: (record) => void layers.push(record) }),
  };
  const recorder = new StepRecorder({
    epoch: 7,
    nodeIds: ["a", "b"],
    observer,
    sampling: { every, level: "layer" },
    nowNs: () => (nowNs += 100),
  });
  return { recorder, steps, layers };
}

describe("which steps are looked into", () => {
  it("samples by the step's number, and every step of a request that asks for it", () => {
    const { recorder } = startRecorder(3);
    const chosen = [1, 2, 3, 4, 5, 6].map((id) => recorder.send(id, makeFacts()));
    expect(chosen).toEqual(["off", "off", "layer", "off", "off", "layer"]);
    expect([7, 8].map((id) => recorder.send(id, makeFacts({ asked: "node" })))).toEqual(["node", "node"]);
    const never = startRecorder(0).recorder;
    expect([1, 2].map((id) => never.send(id, makeFacts()))).toEqual(["off", "off"]);
    expect(never.send(3, makeFacts({ asked: "role" }))).toBe("role");
  });

  it("looks nowhere when nobody wants to know", () => {
    const { recorder } = startRecorder(1, "onLayer");
    expect(recorder.send(1, makeFacts({ asked: "role" }))).toBe("off");
  });

  it("looks once more at a step of the same phase behind a sample that only taught a stage its graph", () => {
    const { recorder } = startRecorder(10);
    expect(recorder.send(10, makeFacts())).toBe("layer");
    expect(recorder.observe("a", makeSeen(10, 0, { learning: true }))).toBe(true);
    expect(recorder.send(11, makeFacts({ phase: "prefill" }))).toBe("off");
    expect(recorder.send(12, makeFacts())).toBe("layer");
    // Once: a stage that learns again waits for the next sample.
    expect(recorder.observe("a", makeSeen(12, 0, { learning: true }))).toBe(true);
    expect(recorder.send(13, makeFacts())).toBe("off");
  });
});

describe("records of steps", () => {
  it("are made of what the stages say, and say null where nothing is known", () => {
    const { recorder, steps } = startRecorder();
    recorder.send(1, makeFacts({ requestIds: ["r", "s"], phase: "prefill", rows: 8 }));
    const timings = [
      create(StageTimingSchema, { stage: 1, queueNs: 4n, computeNs: 5n, serializeNs: 6n, hopNs: 7n, bytesIn: 99 }),
      create(StageTimingSchema, { stage: 0, computeNs: 2n ** 63n, hopNs: 11n }),
      create(StageTimingSchema, { stage: 77, computeNs: 1n }),
    ];
    const sessionId = writeSessionId("0123456789abcdef0123456789abcdef");
    const tokens = [create(SampledTokenSchema, { sessionId })];
    recorder.receive({ timings, tokens }, 1, 200, null);
    expect(steps).toEqual([
      {
        stepId: 1,
        epoch: 7,
        requestIds: ["r", "s"],
        phase: "prefill",
        rows: 8,
        contextTokens: 9,
        sentMonoNs: 100,
        receivedMonoNs: 200,
        sampledRequestIds: ["0123456789abcdef0123456789abcdef"],
        level: "step",
        stages: [
          {
            stage: 0,
            nodeId: "a",
            queueNs: 0,
            computeNs: Number.MAX_SAFE_INTEGER,
            serializeNs: 0,
            hopNs: null,
            bytesIn: 0,
          },
          { stage: 1, nodeId: "b", queueNs: 4, computeNs: 5, serializeNs: 6, hopNs: 7, bytesIn: 99 },
        ],
      },
    ]);
    // A second answer, one to a step that failed, and one to a step that never was.
    recorder.receive({ timings, tokens }, 1, 300, null);
    recorder.send(2, makeFacts());
    recorder.fail(2);
    recorder.receive({ timings, tokens }, 2, 400, null);
    recorder.receive({ timings, tokens }, 3, 500, null);
    expect(steps).toHaveLength(1);
  });

  it("take the inside of an observed step from each of its stages once, and tell it behind the step", () => {
    const { recorder, steps, layers } = startRecorder(1);
    recorder.send(5, makeFacts({ requestIds: ["r"], contextTokens: 44 }));
    expect(recorder.observe("a", makeSeen(5, 0))).toBe(true);
    expect(layers).toEqual([]);
    recorder.receive({ timings: [], tokens: [] }, 5, 200, null);
    expect([steps.length, layers.length]).toEqual([1, 1]);
    expect(recorder.observe("a", makeSeen(5, 0))).toBe(false);
    expect(recorder.observe("a", makeSeen(5, 1))).toBe(false);
    expect(recorder.observe("b", makeSeen(5, 1, { epoch: 6 }))).toBe(false);
    expect(recorder.observe("b", makeSeen(5, 1, { level: "role" }))).toBe(false);
    expect(recorder.observe("b", makeSeen(5, 1, { rows: 2 }))).toBe(false);
    expect(recorder.observe("b", makeSeen(5, 1))).toBe(true);
    expect(layers.map(({ stage, nodeId, contextTokens }) => [stage, nodeId, contextTokens])).toEqual([
      [0, "a", 44],
      [1, "b", 44],
    ]);
  });

  it("tell nothing of the inside of a step that failed", () => {
    const { recorder, layers } = startRecorder(1);
    recorder.send(1, makeFacts());
    recorder.observe("a", makeSeen(1, 0));
    recorder.fail(1);
    expect(recorder.observe("b", makeSeen(1, 1))).toBe(false);
    expect(layers).toEqual([]);
  });

  it("forget observed steps that stages never tell of", () => {
    const { recorder } = startRecorder(1);
    for (let id = 1; id <= 300; id++) recorder.send(id, makeFacts());
    expect(recorder.observe("a", makeSeen(44, 0))).toBe(false);
    expect(recorder.observe("a", makeSeen(45, 0))).toBe(true);
  });
});
