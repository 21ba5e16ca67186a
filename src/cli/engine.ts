import { type EngineIdentity, type LoadOptions, loadEngine } from "../engine/index.ts";

/** How this process and its workers load the engine: a folder of the user's own instead of an installed package. */
export function readEngineOptions(env: Readonly<Record<string, string | undefined>>): LoadOptions {
  const directory = env["NOODLE_ENGINE_DIR"];
  const variant = env["NOODLE_CPU_VARIANT"];
  return {
    ...(directory === undefined || directory === "" ? {} : { directory }),
    ...(variant === undefined || variant === "" ? {} : { variant }),
  };
}

/** Loads the engine as the environment says; must come before anything else that uses it. */
export function prepareEngine(env: Readonly<Record<string, string | undefined>>): EngineIdentity {
  return loadEngine(readEngineOptions(env));
}
