import { create } from "@bufbuild/protobuf";
import { FRAME_OBSERVE, type Frame, type Observation, ObservationSchema } from "../../protocol/index.ts";
import type { ObservedCall } from "./step-runner.ts";

/** What a stage saw inside one step, as it travels: columns instead of rows, names once. */
export function makeObservation(
  frame: Pick<Frame, "epoch" | "stepId" | "observe">,
  stage: number,
  call: ObservedCall,
  times: { readonly arrivalNs: bigint; readonly sentNs: bigint },
): Observation {
  const { observation, startNs, endNs } = call;
  const { segments } = observation;
  const roleIndex = new Map<string, number>();
  for (const { role } of segments) if (!roleIndex.has(role)) roleIndex.set(role, roleIndex.size);
  return create(ObservationSchema, {
    epoch: BigInt(frame.epoch),
    stepId: BigInt(frame.stepId),
    stage,
    level: FRAME_OBSERVE.indexOf(observation.level),
    rows: observation.rows,
    arrivalNs: times.arrivalNs,
    computeStartNs: BigInt(startNs),
    computeEndNs: BigInt(endNs),
    sentNs: times.sentNs,
    stepNs: toNs(observation.stepNs),
    hookNs: toNs(observation.hookNs),
    otherNodes: observation.otherNodes,
    learning: observation.learning,
    roles: [...roleIndex.keys()],
    segmentUnit: segments.map(({ unit }) => unit),
    segmentRole: segments.map(({ role }) => roleIndex.get(role) ?? 0),
    segmentStartNs: segments.map((segment) => toNs(segment.startNs)),
    segmentDurationNs: segments.map((segment) => toNs(segment.durationNs)),
    segmentNodes: segments.map(({ nodes }) => nodes),
  });
}

function toNs(value: number): bigint {
  return BigInt(Math.max(0, Math.round(value)));
}
