import type { LoadOptions, StageInfo } from "../engine/index.ts";
import type { HookLevel, Role, RoleGroup } from "../observe/index.ts";
import type { ProfileSkip } from "../profile/index.ts";
import type { Cell } from "./cells.ts";
import type { StageShape } from "./stage-shape.ts";

/** What the measuring process is told, in its first message. */
export interface MeasureJob {
  readonly engine: LoadOptions;
  readonly stageFile: string;
  readonly shape: StageShape;
  readonly threads: number;
  readonly level: HookLevel;
  /** Most important first. */
  readonly cells: readonly Cell[];
  readonly budgetMs: number | null;
  readonly seed: number;
  /** Token ids are below it. */
  readonly vocabulary: number;
  readonly weightsBytes: number;
  readonly kvBytesPerToken: number;
  readonly machine: MachineJob;
}

/** How the machine's two limits are measured. */
export interface MachineJob {
  /** Bytes that the memory test reads, far beyond the caches. */
  readonly readBytes: number;
  /** A model of two blocks, to multiply with. */
  readonly probeFile: string;
  /** Multiplications and additions of its feed-forward part for one row. */
  readonly probeFlopsPerRow: number;
}

/** What a machine can do at most. */
export interface MachineRates {
  readonly memoryGbPerS: number;
  readonly computeGflops: number;
  /** Rows of the step that gave the compute rate. */
  readonly computeRows: number;
}

export interface StepSegment {
  readonly unit: number;
  readonly role: "total" | RoleGroup | Role;
  readonly ms: number;
  /** Synchronisations. */
  readonly segments: number;
}

export interface PlainStep {
  readonly stepMs: number;
  /** How often the system took a processor away from this process meanwhile; 0 where it does not tell. */
  readonly preemptions: number;
}

/** A step with hooks: its parts summed by unit and role. */
export interface HookedStep extends PlainStep {
  readonly hookMs: number;
  readonly outsideMs: number;
  readonly otherMs: number;
  readonly segments: readonly StepSegment[];
}

/** What one turn at a cell brought. */
export interface TurnSamples {
  readonly cell: Cell;
  /** Rows whose logits were asked for. */
  readonly outputRows: number;
  readonly hooked: readonly HookedStep[];
  readonly plain: readonly PlainStep[];
}

/** What the measuring process says. `turn` is sent when it is over, so whatever ends the process leaves the others. */
export type MeasureMessage =
  | { readonly type: "phase"; readonly words: string }
  | { readonly type: "machine"; readonly rates: MachineRates }
  | { readonly type: "stage"; readonly info: StageInfo }
  | { readonly type: "turn"; readonly samples: TurnSamples; readonly progress: number; readonly words: string }
  | { readonly type: "done"; readonly skipped: readonly ProfileSkip[] }
  | { readonly type: "failed"; readonly error: object };
