import type { Phase, Role, RoleGroup } from "../observe/index.ts";
import type { ModelWork } from "./model-work.ts";
import type { ProfileMachine, ProfileModel, ProfileSettings, ProfileSkip } from "./types.ts";

/** What a profiling run brings home: facts and samples, nothing computed. `completeProfile` makes the document of it. */
export interface RawProfile {
  readonly createdUnixMs: number;
  readonly noodlecoreVersion: string;
  readonly machine: ProfileMachine;
  readonly model: ProfileModel;
  readonly settings: ProfileSettings;
  /** Why the run ended early; null when every cell that was asked for was measured or skipped with a reason. */
  readonly partialReason: string | null;
  /** Of the undivided model, whatever was measured of it: `describeWork(header)`. */
  readonly work: ModelWork;
  readonly cells: readonly RawCell[];
  readonly skipped: readonly ProfileSkip[];
}

/**
 * All samples of one (phase, rows, context). Decode of R rows is one row for each of R sequences, prefill of R rows is R
 * rows of one sequence; every sequence holds `context` positions before the step.
 *
 * `stepMs`, `hookMs`, `outsideMs`, `otherMs` and the `ms` of every segment are aligned: index i is the i-th measured step with hooks.
 * Warm-up and learning steps are left out.
 */
export interface RawCell {
  readonly phase: Phase;
  readonly rows: number;
  readonly context: number;
  /** Rows whose logits were asked for: all of a decode step, usually one of a prefill step. */
  readonly outputRows: number;
  /** `StepObservation.stepNs` of each step with hooks. */
  readonly stepMs: readonly number[];
  /** `computeNs` of each step without hooks, interleaved with the others; as many as there are, possibly none. */
  readonly stepOffMs: readonly number[];
  /** `StepObservation.hookNs`. */
  readonly hookMs: readonly number[];
  /** `StepObservation.outsideNs`: what a step costs beside its graph, hooks or not. */
  readonly outsideMs: readonly number[];
  /** Time of segments of role `other`. */
  readonly otherMs: readonly number[];
  /** One entry for each (unit, role) that occurred. Of a synthetic run, the units that the built ones stand for. */
  readonly segments: readonly RawSegment[];
}

/** The time that one role of one unit took in each step. */
export interface RawSegment {
  /** Of the undivided model. */
  readonly unit: number;
  /** `total` at level `layer`, a group at level `role`, a fine role at level `node`. */
  readonly role: "total" | RoleGroup | Role;
  /** Sum over the step's segments of this unit and role; as long as the cell's `stepMs`. */
  readonly ms: readonly number[];
  /** How many segments one step has of it: how often it was synchronised. */
  readonly segmentsPerStep: number;
}
