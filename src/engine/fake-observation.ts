import type { HookLevel, SegmentTiming, StepObservation } from "../observe/index.ts";
import type { StageInfo } from "./types.ts";

/** Segments of each kind of unit, by level. */
const FAKE_ROLES: Readonly<
  Record<HookLevel, Readonly<Record<"embedding" | "block" | "head", readonly SegmentTiming["role"][]>>>
> = {
  layer: { embedding: ["total"], block: ["total"], head: ["total"] },
  role: { embedding: ["embedding.token"], block: ["norm", "attention", "mlp"], head: ["norm", "head", "sampling"] },
  node: {
    embedding: ["embedding.token"],
    block: [
      "norm",
      "attention.qkv",
      "attention.kv_write",
      "attention.scores",
      "attention.output",
      "mlp.up",
      "mlp.down",
    ],
    head: ["norm", "head", "sampling"],
  },
};

/** The step's time in equal parts, with the segments that a stage of a simple model has. */
export function observeFakeStep(
  { units, unitCount }: Pick<StageInfo, "units" | "unitCount">,
  level: HookLevel,
  rows: number,
  stepNs: number,
): StepObservation {
  const parts: Pick<SegmentTiming, "unit" | "role">[] = [];
  for (let unit = units.first; unit < units.end; unit++) {
    const kind = unit === 0 ? "embedding" : unit === unitCount - 1 ? "head" : "block";
    for (const role of FAKE_ROLES[level][kind]) parts.push({ unit, role });
  }
  const durationNs = Math.floor(stepNs / parts.length);
  return {
    level,
    rows,
    stepNs,
    segments: parts.map((part, i) => ({ ...part, startNs: i * durationNs, durationNs, nodes: 1 })),
    hookNs: stepNs - parts.length * durationNs,
    outsideNs: 0,
    otherNodes: 0,
    learning: false,
  };
}
