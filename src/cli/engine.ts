import { type EngineIdentity, type LoadOptions, loadEngine, requireEngineLayout } from "../engine/index.ts";

/** How this process and its workers load the engine: a folder of the user's own instead of an installed package. */
export function readEngineOptions(env: Readonly<Record<string, string | undefined>>): LoadOptions {
  const directory = env["NOODLE_ENGINE_DIR"];
  const variant = env["NOODLE_CPU_VARIANT"];
  return {
    ...(directory === undefined || directory === "" ? {} : { directory }),
    ...(variant === undefined || variant === "" ? {} : { variant }),
  };
}

/**
 * A folder of the user's own may hold any build: its layout is checked in a child process before it is trusted. The
 * packages are of one pinned version, which the tests have checked.
 *
 * @throws NoodleError `ENGINE_NOT_FOUND`, `ENGINE_INCOMPATIBLE`
 */
export function readTrustedEngineOptions(env: Readonly<Record<string, string | undefined>>): LoadOptions {
  const options = readEngineOptions(env);
  if (options.directory !== undefined) requireEngineLayout(options);
  return options;
}

/** Loads the engine as the environment says; must come before anything else that uses it. */
export function prepareEngine(env: Readonly<Record<string, string | undefined>>): EngineIdentity {
  return loadEngine(readTrustedEngineOptions(env));
}
