import { create, fromBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import type { StepObservation } from "../../observe/index.ts";
import { ObservationSchema, WorkerMessageSchema } from "../../protocol/index.ts";
import { makeObservation } from "./observation.ts";
import { ObservationSender } from "./observation-sender.ts";
import { StepCounter } from "./step-totals.ts";
import { makeFrame, makeRun } from "./testing.ts";

const SEEN: StepObservation = {
  level: "role",
  rows: 2,
  stepNs: 1000.4,
  segments: [
    { unit: 3, role: "attention", startNs: 0, durationNs: 400, nodes: 9 },
    { unit: 3, role: "mlp", startNs: 400, durationNs: 300, nodes: 4 },
    { unit: 4, role: "attention", startNs: 700, durationNs: 250, nodes: 9 },
  ],
  hookNs: 50,
  outsideNs: 20,
  otherNodes: 1,
  learning: false,
};

describe("observations on their way", () => {
  it("name each role once, and hold a column for each property of a segment", () => {
    const frame = { epoch: 5, stepId: 6, observe: "role" } as const;
    const call = { observation: SEEN, startNs: 20_000, endNs: 21_500 };
    const made = makeObservation(frame, 1, call, { arrivalNs: 10_000n, sentNs: 22_000n });
    expect(made).toMatchObject({
      epoch: 5n,
      stepId: 6n,
      stage: 1,
      level: 2,
      rows: 2,
      arrivalNs: 10_000n,
      computeStartNs: 20_000n,
      computeEndNs: 21_500n,
      sentNs: 22_000n,
      stepNs: 1000n,
      hookNs: 50n,
      otherNodes: 1,
      roles: ["attention", "mlp"],
      segmentUnit: [3, 3, 4],
      segmentRole: [0, 1, 0],
      segmentStartNs: [0n, 400n, 700n],
      segmentDurationNs: [400n, 300n, 250n],
      segmentNodes: [9, 4, 9],
    });
  });

  it("leave as worker messages, and are dropped and counted when the receiver is behind", () => {
    const sent: Uint8Array[] = [];
    const taken: (() => void)[] = [];
    const sender = new ObservationSender((message, onSent) => {
      sent.push(message);
      taken.push(onSent);
    });
    for (let step = 0; step < 70; step++) sender.push(create(ObservationSchema, { stepId: BigInt(step) }));
    expect(sent).toHaveLength(64);
    expect(sender.dropped).toBe(6);
    for (const onSent of taken.splice(0)) onSent();
    sender.push(create(ObservationSchema, { stepId: 99n }));
    expect(sender.dropped).toBe(6);
    const { message } = fromBinary(WorkerMessageSchema, sent.at(-1) ?? new Uint8Array());
    expect(message).toMatchObject({ case: "observation", value: { stepId: 99n } });
  });

  it("are dropped where they are larger than any model gives", () => {
    const sent: Uint8Array[] = [];
    const sender = new ObservationSender((message) => void sent.push(message));
    sender.push(create(ObservationSchema, { segmentUnit: Array.from({ length: 32_769 }, () => 1) }));
    expect([sent.length, sender.dropped]).toEqual([0, 1]);
  });
});

describe("the count of a host's steps", () => {
  it("sums by phase, takes bytes of all frames, and engine calls only as steps", () => {
    const counter = new StepCounter();
    const timing = { queueNs: 1, computeNs: 10, serializeNs: 3, bytesIn: 100 };
    counter.add(
      makeFrame(
        1,
        [makeRun(0, 0, 8)],
        Array.from({ length: 8 }, () => 1),
      ),
      timing,
    );
    counter.add(makeFrame(2, [makeRun(0, 8, 1), makeRun(1, 4, 1)], [1, 2]), timing);
    counter.add(makeFrame(3, [makeRun(0, 9, 1)], [1]), timing);
    counter.add(makeFrame(3, [makeRun(0, 9, 1)], [1]), { ...timing, computeNs: 0 });
    counter.addSent(70);
    counter.addFailure();
    expect(counter.totals).toEqual({
      prefill: { steps: 1, rows: 8, computeNs: 10, queueNs: 1, serializeNs: 3 },
      decode: { steps: 2, rows: 3, computeNs: 20, queueNs: 2, serializeNs: 6 },
      bytesIn: 400,
      bytesOut: 70,
      failedSteps: 1,
    });
  });
});
