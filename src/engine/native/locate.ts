import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { NoodleError } from "../../common/index.ts";
import { ENGINE_PACKAGES, ENGINE_VERSION } from "./pinned.ts";

const require = createRequire(import.meta.url);

/** Where an engine's shared libraries lie. */
export interface EngineLocation {
  readonly directory: string;
  /** npm package that it came from, or null for a directory that the user named. */
  readonly packageName: string | null;
  readonly packageVersion: string | null;
}

/** Packages for this machine, the best first, whether installed or not. */
export function listEnginePackages(
  platform: string = process.platform,
  arch: string = process.arch,
): readonly string[] {
  return (ENGINE_PACKAGES[`${platform}-${arch}`] ?? []).map((name) => `@node-llama-cpp/${name}`);
}

/**
 * Finds the engine: `directory` if given (the user's `NOODLE_ENGINE_DIR`), otherwise the best installed package.
 *
 * @throws NoodleError `ENGINE_NOT_FOUND` naming the package to install; `ENGINE_INCOMPATIBLE` for another version.
 */
export function locateEngine(directory?: string): EngineLocation {
  if (directory !== undefined) {
    if (!existsSync(directory) || findLibrary(directory, "llama") === undefined) {
      throw new NoodleError("ENGINE_NOT_FOUND", `no libllama in ${directory} (NOODLE_ENGINE_DIR)`, {
        details: { directory },
      });
    }
    return { directory, packageName: null, packageVersion: null };
  }
  const packages = listEnginePackages();
  for (const packageName of packages) {
    const found = locatePackage(packageName);
    if (found === undefined) continue;
    if (found.packageVersion !== ENGINE_VERSION) {
      throw new NoodleError(
        "ENGINE_INCOMPATIBLE",
        `${packageName} is version ${found.packageVersion}, this release needs exactly ${ENGINE_VERSION}: npm install ${packageName}@${ENGINE_VERSION}`,
        { details: { packageName, version: found.packageVersion, needed: ENGINE_VERSION } },
      );
    }
    return found;
  }
  const advice =
    packages.length === 0
      ? "no engine package exists for it: build llama.cpp and set NOODLE_ENGINE_DIR"
      : `npm install ${packages.at(-1)}@${ENGINE_VERSION}`;
  throw new NoodleError("ENGINE_NOT_FOUND", `no engine for ${process.platform}-${process.arch}; ${advice}`, {
    details: { packages },
  });
}

function locatePackage(packageName: string): (EngineLocation & { packageVersion: string }) | undefined {
  let entry: string;
  try {
    entry = require.resolve(packageName);
  } catch {
    return undefined; // not installed
  }
  const root = dirname(dirname(entry));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const bins = join(root, "bins");
  const folder = readdirSync(bins).find((name) => findLibrary(join(bins, name), "llama") !== undefined);
  return folder === undefined ? undefined : { directory: join(bins, folder), packageName, packageVersion: version };
}

/** File of a library whose name carries a version that we do not want to spell (`libllama.v0.5.0.so`). */
export function findLibrary(directory: string, name: string): string | undefined {
  const pattern = new RegExp(`^(lib)?${name}(\\.v[0-9.]+)?\\.(so|dylib|dll)$`);
  const file = readdirSync(directory).find((entry) => pattern.test(entry));
  return file === undefined ? undefined : join(directory, file);
}

/** Libraries of the CPU variants in an engine directory, by variant name; `base` for a single unnamed one. */
export function listCpuVariants(directory: string): ReadonlyMap<string, string> {
  const variants = new Map<string, string>();
  for (const entry of readdirSync(directory).toSorted()) {
    const match = /^(?:lib)?ggml-cpu(?:-([a-z0-9_.-]+))?\.(?:so|dylib|dll)$/.exec(entry);
    if (match !== null) variants.set(match[1] ?? "base", join(directory, entry));
  }
  return variants;
}

/** Backends for other devices in the engine directory (CUDA, Vulkan, Metal), by file. */
export function listDeviceBackends(directory: string): readonly string[] {
  return readdirSync(directory)
    .filter((entry) => /^(?:lib)?ggml-(?:cuda|vulkan|metal|hip|sycl)[^/]*\.(?:so|dylib|dll)$/.test(entry))
    .map((entry) => join(directory, entry));
}
