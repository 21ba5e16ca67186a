import type { StageStepRecord } from "./records.ts";

/** A stage's times in a step as logs and traces write them. */
export interface StageTimes {
  readonly stage: number;
  readonly node_id: string;
  readonly queue_ns: number;
  readonly compute_ns: number;
  readonly serialize_ns: number;
  readonly hop_ns: number | null;
  readonly bytes_in: number;
}

/** Times come from subtractions and halvings of clock readings: whole numbers are made here. */
export function writeStageTimes(record: StageStepRecord): StageTimes {
  return {
    stage: record.stage,
    node_id: record.nodeId,
    queue_ns: toDuration(record.queueNs),
    compute_ns: toDuration(record.computeNs),
    serialize_ns: toDuration(record.serializeNs),
    hop_ns: record.hopNs === null ? null : Math.round(record.hopNs),
    bytes_in: record.bytesIn,
  };
}

export function readStageTimes(times: StageTimes): StageStepRecord {
  return {
    stage: times.stage,
    nodeId: times.node_id,
    queueNs: times.queue_ns,
    computeNs: times.compute_ns,
    serializeNs: times.serialize_ns,
    hopNs: times.hop_ns,
    bytesIn: times.bytes_in,
  };
}

function toDuration(ns: number): number {
  return Math.max(0, Math.round(ns));
}
