import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { PACKAGE_ROOT } from "./package.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Where stage files and the node's identity are kept: `--data`, then NOODLE_DATA_DIR, then the user's cache folder. */
export function resolveDataDirectory(env: Environment, option?: string): string {
  const chosen = option ?? env["NOODLE_DATA_DIR"];
  if (chosen !== undefined && chosen !== "") return resolve(chosen);
  const cache = env["XDG_CACHE_HOME"];
  return join(cache !== undefined && cache !== "" ? cache : join(homedir(), ".cache"), "noodlecore");
}

/** The model that comes with the package. */
export const BUNDLED_MODEL: string = join(PACKAGE_ROOT, "models", "storyteller-q8_0.gguf");
