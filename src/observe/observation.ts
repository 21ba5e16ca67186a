import type { HookLevel } from "./levels.ts";
import type { Role, RoleGroup } from "./roles.ts";

/** A stretch of graph nodes that was computed between two synchronisations. */
export interface SegmentTiming {
  /** Unit of the undivided model. */
  readonly unit: number;
  /** `total` at level `layer`, a group at level `role`, a fine role at level `node`. */
  readonly role: "total" | RoleGroup | Role;
  /** From the beginning of the engine call that it belongs to; calls of one step lie behind one another. */
  readonly startNs: number;
  readonly durationNs: number;
  /** Graph nodes that compute something (views and the like are not counted). */
  readonly nodes: number;
}

/** What one `forward` looked like from inside. */
export interface StepObservation {
  readonly level: HookLevel;
  readonly rows: number;
  /** The whole engine time of this step, hooks included: what the segments and `hookNs` add up to. */
  readonly stepNs: number;
  readonly segments: readonly SegmentTiming[];
  /** Time outside the segments: `stepNs` minus all of theirs. Callbacks, bookkeeping, graph submission. */
  readonly hookNs: number;
  /**
   * The part of `hookNs` that is there without hooks too: before the first graph node and behind the last (making the
   * graph, copying rows in and out).
   */
  readonly outsideNs: number;
  /** Graph nodes that no rule could name; their time is in segments of role `other` (level `node`). */
  readonly otherNodes: number;
  /**
   * True when the graph was met for the first time, so that it was read and not timed: `segments` is empty. The next
   * step of the same kind is timed.
   */
  readonly learning: boolean;
}

/** One observation of steps that lie behind one another: the stages of a chain, or the engine calls of a step. */
export function joinObservations(parts: readonly StepObservation[]): StepObservation | null {
  const first = parts[0];
  if (first === undefined) return null;
  const sum = (of: (part: StepObservation) => number): number => parts.reduce((total, part) => total + of(part), 0);
  let offsetNs = 0;
  const segments: SegmentTiming[] = [];
  for (const part of parts) {
    for (const segment of part.segments) segments.push({ ...segment, startNs: segment.startNs + offsetNs });
    offsetNs += part.stepNs;
  }
  return {
    level: first.level,
    rows: first.rows,
    stepNs: sum((part) => part.stepNs),
    segments,
    hookNs: sum((part) => part.hookNs),
    outsideNs: sum((part) => part.outsideNs),
    otherNodes: sum((part) => part.otherNodes),
    learning: parts.some((part) => part.learning),
  };
}
