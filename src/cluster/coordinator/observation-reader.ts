import { NoodleError } from "../../common/index.ts";
import {
  type HookLevel,
  ROLE_GROUPS,
  type Role,
  type RoleGroup,
  ROLES,
  type SegmentTiming,
} from "../../observe/index.ts";
import { FRAME_OBSERVE, type Observation } from "../../protocol/index.ts";
import { toNumber } from "./convert.ts";

/** An observation whose every number was looked at; which step it belongs to is still to be judged. */
export interface ReadObservation {
  readonly epoch: number;
  readonly stepId: number;
  readonly stage: number;
  readonly level: HookLevel;
  readonly rows: number;
  readonly segments: readonly SegmentTiming[];
  readonly stepNs: number;
  readonly hookNs: number;
  readonly learning: boolean;
  readonly arrivalNs: number;
  readonly computeStartNs: number;
  readonly computeEndNs: number;
  readonly sentNs: number;
}

const MAX_SEGMENTS = 32_768;
const MAX_ROLES = 64;

/** A monotonic clock counts from the machine's start; 2^62 ns are 146 years. */
const MAX_CLOCK_NS = 1n << 62n;

const KNOWN_ROLES: ReadonlySet<string> = new Set([...ROLES, ...ROLE_GROUPS, "total"]);

/**
 * Reads what a worker says of a step.
 *
 * @param units of the stage: segments lie in them
 * @throws FRAME_INVALID when it contradicts itself, names what does not exist, or is larger than any model gives
 */
export function readObservation(
  from: Observation,
  units: { readonly first: number; readonly end: number },
): ReadObservation {
  const level = FRAME_OBSERVE[from.level];
  if (level === undefined || level === "off") throw invalid(`level ${from.level}`);
  const times = [from.arrivalNs, from.computeStartNs, from.computeEndNs, from.sentNs];
  for (const [index, time] of times.entries()) {
    const before = times[index - 1] ?? 0n;
    if (time < before || time > MAX_CLOCK_NS) throw invalid(`time ${index} is ${time}, the one before it ${before}`);
  }
  return {
    epoch: toNumber(from.epoch, "epoch"),
    stepId: toNumber(from.stepId, "step_id"),
    stage: from.stage,
    level,
    rows: from.rows,
    segments: readSegments(from, units),
    stepNs: toNumber(from.stepNs, "step_ns"),
    hookNs: toNumber(from.hookNs, "hook_ns"),
    learning: from.learning,
    arrivalNs: Number(from.arrivalNs),
    computeStartNs: Number(from.computeStartNs),
    computeEndNs: Number(from.computeEndNs),
    sentNs: Number(from.sentNs),
  };
}

function readSegments(
  from: Observation,
  units: { readonly first: number; readonly end: number },
): readonly SegmentTiming[] {
  const { roles, segmentUnit, segmentRole, segmentStartNs, segmentDurationNs, segmentNodes } = from;
  const count = segmentUnit.length;
  if (count > MAX_SEGMENTS) throw invalid(`${count} segments, the limit is ${MAX_SEGMENTS}`);
  if (roles.length > MAX_ROLES) throw invalid(`${roles.length} roles, the limit is ${MAX_ROLES}`);
  const columns = [segmentRole, segmentStartNs, segmentDurationNs, segmentNodes];
  if (columns.some((column) => column.length !== count)) throw invalid("columns of different lengths");
  const names = roles.map(readRole);
  return segmentUnit.map((unit, index): SegmentTiming => {
    const role = names[segmentRole[index] ?? -1];
    if (role === undefined) throw invalid(`segment ${index} has role ${segmentRole[index]} of ${names.length}`);
    if (unit < units.first || unit >= units.end) {
      throw invalid(`segment ${index} is of unit ${unit}, the stage holds ${units.first}:${units.end}`);
    }
    return {
      unit,
      role,
      startNs: toNumber(segmentStartNs[index] ?? 0n, "segment_start_ns"),
      durationNs: toNumber(segmentDurationNs[index] ?? 0n, "segment_duration_ns"),
      nodes: segmentNodes[index] ?? 0,
    };
  });
}

function readRole(name: string): "total" | RoleGroup | Role {
  if (!KNOWN_ROLES.has(name)) throw invalid(`role "${name.slice(0, 64)}"`);
  return name as "total" | RoleGroup | Role;
}

function invalid(what: string): NoodleError {
  return new NoodleError("FRAME_INVALID", `an observation that makes no sense: ${what}`);
}
