import type { Phase } from "../observe/index.ts";
import type { LiveBottleneck } from "./live-document.ts";
import type { StageMeans } from "./live-stage.ts";

export interface StageCosts extends StageMeans {
  readonly stage: number;
  readonly node: string;
  readonly nodeName: string;
}

const KINDS = { compute: "computeMs", queue: "queueMs", serialize: "serializeMs", hop: "hopMs" } as const;

/**
 * What takes most of a step: a stage's computing, waiting, writing, the way into it, or what lies outside all stages
 * (the coordinator and the way back). Null without steps.
 *
 * @param stepMs mean time from the sending of a step to its result
 */
export function findBottleneck(phase: Phase, stages: readonly StageCosts[], stepMs: number): LiveBottleneck | null {
  if (stepMs <= 0 || stages.length === 0) return null;
  const per = phase === "decode" ? "a token" : "a prefill step";
  let worst: LiveBottleneck | null = null;
  let insideMs = 0;
  for (const costs of stages) {
    for (const kind of ["compute", "queue", "serialize", "hop"] as const) {
      const ms = costs[KINDS[kind]];
      insideMs += ms;
      if (worst !== null && ms <= worst.ms) continue;
      const share = Math.min(1, ms / stepMs);
      const { stage, node, nodeName } = costs;
      const words = `${describePlace(kind, stage, nodeName)} takes ${percent(share)} of ${per}: ${WORDS[kind]}`;
      worst = { phase, kind, stage, node, ms, share, words };
    }
  }
  const outsideMs = stepMs - insideMs;
  if (worst !== null && outsideMs <= worst.ms) return worst;
  const share = Math.min(1, outsideMs / stepMs);
  const words = `the coordinator and the way back take ${percent(share)} of ${per}`;
  return { phase, kind: "coordinator", stage: null, node: null, ms: outsideMs, share, words };
}

const WORDS = {
  compute: "compute",
  queue: "waiting for its engine",
  serialize: "writing for the next stage",
  hop: "network",
} as const;

function describePlace(kind: keyof typeof WORDS, stage: number, nodeName: string): string {
  return kind === "hop" ? `the way into stage ${stage} on ${nodeName}` : `stage ${stage} on ${nodeName}`;
}

function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}
