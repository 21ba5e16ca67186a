import type { NoodleError } from "../../common/index.ts";
import type { SamplingParams, SlotStart, StageConfig, StageInput, StageOutput } from "../../engine/index.ts";
import type { HookLevel } from "../../observe/index.ts";

/** Which implementation of `Stage` a thread runs. `fake` needs no library: its stage file is JSON. */
export type EngineKind = "llama" | "fake";

/** Which library a thread loads; one for each process. */
export interface EngineChoice {
  readonly kind: EngineKind;
  /** CPU variant that the plan pins; absent = the best one of this machine. */
  readonly variant?: string;
  /** Engine directory that the user named; absent = an installed package. */
  readonly directory?: string;
  /** Keeps what is measured of the engine on this machine from start to start. */
  readonly cacheDirectory?: string;
  /** Times that each call is made to take as long: `EmulatedSpeed`. @default 1 */
  readonly emulatedSlowness?: number;
}

export interface ForwardRequest {
  readonly input: StageInput;
  readonly wantLogits: boolean;
  /** Positions to drop first, by slot. */
  readonly truncations: readonly { readonly slot: number; readonly position: number }[];
  /** How closely the engine looks at this step; null = not at all. */
  readonly observe: HookLevel | null;
}

/** What the engine gave, and when, on this process's monotonic clock (`process.hrtime`). */
export interface ForwardOutput extends StageOutput {
  readonly startNs: number;
  readonly endNs: number;
}

/** What the engine thread is asked; answers come in the order of the questions. */
export type EngineCall =
  | { readonly type: "start"; readonly choice: EngineChoice }
  | { readonly type: "load"; readonly config: StageConfig }
  | { readonly type: "probe" }
  | { readonly type: "openSlot"; readonly slot: number; readonly sampling: SamplingParams; readonly start: SlotStart }
  | { readonly type: "closeSlot"; readonly slot: number; readonly keep: boolean }
  | ({ readonly type: "forward" } & ForwardRequest)
  | { readonly type: "readKv"; readonly slot: number }
  | { readonly type: "canary" }
  | { readonly type: "close" };

export interface EngineRequest {
  readonly id: number;
  readonly call: EngineCall;
}

/** `NoodleError.toJSON` of what was thrown. */
export type ErrorJson = ReturnType<NoodleError["toJSON"]>;

export type EngineReply =
  | { readonly id: number; readonly ok: true; readonly value: unknown }
  | { readonly id: number; readonly ok: false; readonly error: ErrorJson };
