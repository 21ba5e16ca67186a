import type { HookLevel, SegmentTiming, StepObservation } from "../observe/index.ts";
import type { GraphPlan } from "./learned-graph.ts";

const NS_PER_MS = 1e6;

/** Gathers what the engine calls of one step took. Times are of `performance.now()`. */
export class StepRecorder {
  readonly level: HookLevel;
  readonly #rows: number;
  readonly #startMs: number;
  readonly #segments: SegmentTiming[] = [];
  /** Time between the first node and the last of all calls, and in the sampler. */
  #insideMs = 0;
  #otherNodes = 0;
  #learning = false;

  constructor(level: HookLevel, rows: number, startMs: number) {
    this.level = level;
    this.#rows = rows;
    this.#startMs = startMs;
  }

  /** @param times start and end of each of the plan's segments, alternating */
  addCall(plan: GraphPlan, times: Float64Array, firstMs: number, otherNodes: number): void {
    for (const [i, { unit, role, nodes }] of plan.boundaries.entries()) {
      this.#add(unit, role, nodes, times[2 * i] as number, times[2 * i + 1] as number);
    }
    this.#insideMs += (times[2 * plan.boundaries.length - 1] ?? firstMs) - firstMs;
    this.#otherNodes += otherNodes;
  }

  /** A stretch outside of the graph. */
  addOutside(unit: number, role: SegmentTiming["role"], startMs: number, endMs: number): void {
    this.#add(unit, this.level === "layer" ? "total" : role, 1, startMs, endMs);
    this.#insideMs += endMs - startMs;
  }

  /** A call that met an unknown graph: nothing of this step can be said. */
  markLearning(): void {
    this.#learning = true;
  }

  finish(endMs: number): StepObservation {
    const stepNs = toNs(endMs - this.#startMs);
    const segments = this.#learning ? [] : this.#segments;
    const hookNs = stepNs - segments.reduce((sum, { durationNs }) => sum + durationNs, 0);
    return {
      level: this.level,
      rows: this.#rows,
      stepNs,
      segments,
      hookNs,
      outsideNs: this.#learning ? 0 : Math.min(hookNs, Math.max(0, stepNs - toNs(this.#insideMs))),
      otherNodes: this.#otherNodes,
      learning: this.#learning,
    };
  }

  #add(unit: number, role: SegmentTiming["role"], nodes: number, startMs: number, endMs: number): void {
    this.#segments.push({
      unit,
      role,
      startNs: toNs(startMs - this.#startMs),
      durationNs: toNs(endMs - startMs),
      nodes,
    });
  }
}

/** Rounded down, so that parts never add up to more than the whole. */
export function toNs(ms: number): number {
  return Math.floor(ms * NS_PER_MS);
}
