import { NoodleError } from "../common/index.ts";

/**
 * How closely a step is looked at, each level with all that the ones before it give:
 * - `off`: nothing;
 * - `step`: the time of each stage's whole call, no engine hook;
 * - `layer`: a time for each unit (one synchronisation for each block);
 * - `role`: a time for each group of roles of a unit (a few for each block);
 * - `node`: a time for each graph node (for profiling).
 */
export const OBSERVE_LEVELS = ["off", "step", "layer", "role", "node"] as const;

export type ObserveLevel = (typeof OBSERVE_LEVELS)[number];

/** The levels that need the engine's hooks. */
export const HOOK_LEVELS = ["layer", "role", "node"] as const;

export type HookLevel = (typeof HOOK_LEVELS)[number];

/** @throws NoodleError `USAGE` naming what was given as `name` and the legal levels */
export function readHookLevel(text: string, name: string): HookLevel {
  const level = HOOK_LEVELS.find((known) => known === text);
  if (level === undefined) {
    throw new NoodleError("USAGE", `${name} "${text}" is unknown; there are: ${HOOK_LEVELS.join(", ")}`);
  }
  return level;
}

export type Phase = "prefill" | "decode";
