import { readFileSync } from "node:fs";
import { basename } from "node:path";
import koffi, { type LibraryHandle } from "koffi";
import { must, NoodleError } from "../../common/index.ts";
import { type Bindings, bindLibraries } from "./bindings.ts";
import { checkStructSizes, type Pointer } from "./layout.ts";
import { type EngineLocation, listCpuVariants, listDeviceBackends, locateEngine } from "./locate.ts";
import { ENGINE_VERSION, LLAMA_VERSION_PREFIX } from "./pinned.ts";

export interface LoadOptions {
  /** Engine directory instead of an installed package (the CLI passes `NOODLE_ENGINE_DIR`). */
  readonly directory?: string;
  /** CPU variant to load; the best for this CPU when absent. */
  readonly variant?: string;
  /** Let the library write its log to stderr. Stage hosts do: their supervisor reads it. @default false */
  readonly log?: boolean;
}

/** The loaded library of this process. One per thread, over one set of backends per process. */
export interface Library {
  readonly calls: Bindings;
  readonly location: EngineLocation;
  readonly variant: string;
  /** `llama.cpp 0.5.0 / node-llama-cpp 3.22.1`. */
  readonly build: string;
  newThreadpool(threads: number): Pointer;
  freeThreadpool(pool: Pointer): void;
}

let loaded: Library | undefined;

/**
 * Loads libllama and one CPU variant once; later calls return the same library.
 *
 * @throws NoodleError `ENGINE_NOT_FOUND`, `ENGINE_INCOMPATIBLE`; also when another variant is already loaded.
 */
export function loadLibrary(options: LoadOptions = {}): Library {
  if (loaded !== undefined) {
    if (options.variant !== undefined && options.variant !== loaded.variant) {
      throw new NoodleError(
        "ENGINE_INCOMPATIBLE",
        `CPU variant ${loaded.variant} is loaded already, ${options.variant} was asked for: use another process`,
      );
    }
    return loaded;
  }
  checkStructSizes();
  const location = locateEngine(options.directory);
  const { bindings: calls, noop } = bindLibraries(location.directory);
  const version = calls.llama_version();
  if (!version.startsWith(LLAMA_VERSION_PREFIX)) {
    throw new NoodleError(
      "ENGINE_INCOMPATIBLE",
      `libllama in ${location.directory} is version ${version}, this release was written against ${LLAMA_VERSION_PREFIX}`,
    );
  }
  // A JavaScript log callback of one thread would deadlock another; a native function that does nothing cannot.
  if (options.log !== true) calls.llama_log_set(noop, null);
  const variant = loadCpuBackend(calls, location.directory, options.variant);
  for (const file of listDeviceBackends(location.directory)) calls.ggml_backend_load(file); // null where no device is: fine
  calls.llama_backend_init();
  loaded = {
    calls,
    location,
    variant,
    build: `llama.cpp ${version.trim().replace(/-dev$/, "")} / node-llama-cpp ${location.packageVersion ?? `(own build, layout of ${ENGINE_VERSION})`}`,
    ...threadpoolCalls(calls),
  };
  return loaded;
}

/** @returns the variant's name. Backends belong to the process: another thread may have loaded one already. */
function loadCpuBackend(calls: Bindings, directory: string, wanted: string | undefined): string {
  if (Number(calls.ggml_backend_reg_count()) > 0 && calls.ggml_backend_reg_by_name("CPU") !== null)
    return readLoadedVariant(wanted);
  const variants = listCpuVariants(directory);
  const variant = wanted ?? chooseVariant(variants);
  const file = variants.get(variant);
  if (file === undefined) {
    throw new NoodleError(
      "ENGINE_NOT_FOUND",
      `no CPU variant ${variant} in ${directory}; there are: ${[...variants.keys()].join(", ")}`,
    );
  }
  if (calls.ggml_backend_load(file) === null) {
    throw new NoodleError(
      "ENGINE_INCOMPATIBLE",
      `CPU variant ${variant} does not run on this CPU; leave the variant out to get the best one`,
    );
  }
  return variant;
}

/** The variant that scores highest on this CPU by the library's own judgement. */
function chooseVariant(variants: ReadonlyMap<string, string>): string {
  let best: { name: string; score: number } | undefined;
  for (const [name, file] of variants) {
    const library = koffi.load(file);
    const score = scoreOf(library);
    library.unload();
    if (score > 0 && (best === undefined || score > best.score)) best = { name, score };
  }
  return must(best, "CPU variant for this machine").name;
}

function scoreOf(library: LibraryHandle): number {
  try {
    return (library.func("ggml_backend_score", "int", []) as () => number)();
  } catch {
    return 1; // a variant without a score function is the plain one
  }
}

function readLoadedVariant(wanted: string | undefined): string {
  if (process.platform !== "linux") return wanted ?? "base";
  const match = /ggml-cpu-?([a-z0-9_.-]*)\.so/.exec(readFileSync("/proc/self/maps", "utf8"));
  const variant = match === null || match[1] === "" ? "base" : basename(must(match[1], "variant"));
  if (wanted !== undefined && wanted !== variant) {
    throw new NoodleError(
      "ENGINE_INCOMPATIBLE",
      `CPU variant ${variant} is loaded already, ${wanted} was asked for: use another process`,
    );
  }
  return variant;
}

/** Threadpools live in the CPU backend, which is loaded at run time, so their functions come by name. */
function threadpoolCalls(calls: Bindings): Pick<Library, "newThreadpool" | "freeThreadpool"> {
  const reg = must(calls.ggml_backend_reg_by_name("CPU"), "CPU backend");
  const find = (name: string): Pointer => must(calls.ggml_backend_reg_get_proc_address(reg, name), name);
  const create = koffi.decode(
    find("ggml_threadpool_new"),
    koffi.proto("void *noodle_threadpool_new(void *params)"),
  ) as (params: Uint8Array) => Pointer;
  const free = koffi.decode(find("ggml_threadpool_free"), koffi.proto("void noodle_threadpool_free(void *pool)")) as (
    pool: Pointer,
  ) => void;
  return {
    newThreadpool(threads: number): Pointer {
      return create(encodeThreadpoolParams(threads));
    },
    freeThreadpool: free,
  };
}

/** Between two graphs a thread polls for so many times 131,072 rounds (some milliseconds each) before it sleeps. */
const POLL_LEVEL = 1;

/**
 * `ggml_threadpool_params`: bool cpumask[512]; int n_threads; int prio; uint32 poll; bool strict_cpu; bool paused.
 * The library's own poll level is 50: its threads would spin from token to token on the cores that the network needs
 * meanwhile. Measured with two threads on two cores, worker against bare loop: 0.92 with 50, 0.85 with 0, 1.00 with 1.
 */
function encodeThreadpoolParams(threads: number): Uint8Array {
  const bytes = new Uint8Array(528);
  const view = new DataView(bytes.buffer);
  view.setInt32(512, threads, true);
  view.setInt32(516, 0, true);
  view.setUint32(520, POLL_LEVEL, true);
  return bytes;
}
