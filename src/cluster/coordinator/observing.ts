import { NoodleError } from "../../common/index.ts";
import { readHookLevel } from "../../observe/index.ts";
import type { CompiledCoordinatorOptions } from "./options.ts";
import type { Recorder } from "./recorder.ts";
import type { StatusDocument } from "./status.ts";

/** @throws USAGE where a request's steps can't be looked into, or not at this level */
export function requireHooks({ hooks, observer }: CompiledCoordinatorOptions, level: string): void {
  readHookLevel(level, "observe");
  const why = !hooks ? "its workers run without hooks" : observer === null ? "nobody observes" : "";
  if (why !== "") throw new NoodleError("USAGE", `this coordinator cannot look into a request's steps: ${why}`);
}

/** What is observed, as a part of the status document. */
export function describeObserving(
  { hooks, sampleEvery, sampleLevel }: CompiledCoordinatorOptions,
  recorder: Recorder | null,
): StatusDocument["coordinator"]["observing"] {
  const { taken, refused, dropped } = recorder?.observations ?? { taken: 0, refused: 0, dropped: 0 };
  return {
    observed: recorder !== null,
    hooks,
    sample_every: sampleEvery,
    sample_level: sampleLevel,
    observations: taken,
    observations_refused: refused,
    observations_dropped: dropped,
    observer_failures: recorder?.observerFailures ?? 0,
  };
}
