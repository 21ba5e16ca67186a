import type { SchedulePolicy } from "../schedule/index.ts";
import type { SimCluster, SimLink, SimPipeline, SimStage, StageCost } from "./types.ts";

/** What a test's pipeline is made of. */
export interface PipelineShape {
  /** Of each stage: time of a call, whatever is in it, or a cost. */
  readonly stages: readonly (number | StageCost)[];
  readonly policy?: Partial<SchedulePolicy>;
  readonly window?: number;
  readonly contextTokens?: number;
  readonly kvTokens?: number | null;
  readonly bytesPerRow?: number;
  readonly openMs?: number;
  /** @default n0, n1, ... */
  readonly nodes?: readonly string[];
}

/** A window that never holds anything up. */
export const WIDE = 4096;

export function makePipeline(shape: PipelineShape): SimPipeline {
  const { stages, policy = {}, window = WIDE, contextTokens = 4096, kvTokens = null, bytesPerRow = 0 } = shape;
  return {
    stages: stages.map(
      (cost, index): SimStage => ({
        node: shape.nodes?.[index] ?? `n${index}`,
        first: index,
        end: index + 1,
        cost: typeof cost === "number" ? { predictMs: () => cost } : cost,
        bytesPerRow: index === 0 ? 0 : bytesPerRow,
        bytesPerFrame: 0,
        outputRowsOnly: false,
        kvBytesPerToken: 1,
      }),
    ),
    policy: {
      stages: stages.length,
      decodeInFlight: stages.length,
      maxDecodeRows: 8,
      prefillRows: 64,
      mixedPrefillRows: 64,
      slots: 8,
      determinism: "recorded",
      align: 1,
      pairFromCells: null,
      ...policy,
    },
    contextTokens,
    kvTokens,
    window,
    resultBytesPerFrame: 0,
    resultBytesPerRow: 0,
    openMs: shape.openMs ?? 0,
  };
}

/** A cluster of the nodes that the pipelines name. */
export function makeCluster(
  pipelines: readonly SimPipeline[],
  more: Partial<SimCluster> & { readonly links?: readonly SimLink[] } = {},
): SimCluster {
  const ids = [...new Set(pipelines.flatMap(({ stages }) => stages.map(({ node }) => node)))];
  return { nodes: ids.map((id) => ({ id })), links: [], pipelines, ...more };
}
