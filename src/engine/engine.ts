import { cpus } from "node:os";
import { type Library, listCpuVariants, loadLibrary, type LoadOptions } from "./native/index.ts";
import type { EngineIdentity } from "./types.ts";

export interface EngineDevice {
  readonly name: string;
  readonly description: string;
  readonly kind: "cpu" | "gpu" | "igpu" | "accelerator";
  readonly memoryTotalBytes: number;
  readonly memoryFreeBytes: number;
}

/** An engine in this process. */
export interface LoadedEngine extends EngineIdentity {
  /** The CPU and whatever else its backends found. */
  readonly devices: readonly EngineDevice[];
}

export interface EngineDescription extends LoadedEngine {
  readonly directory: string;
  readonly packageName: string | null;
  /** CPU variants that the package carries. */
  readonly variants: readonly string[];
  /** CPU features that the loaded variant uses, in the library's own words. */
  readonly features: readonly string[];
}

/** Loads the engine into this process. Idempotent. @throws NoodleError `ENGINE_NOT_FOUND`, `ENGINE_INCOMPATIBLE` */
export function loadEngine(options: LoadOptions = {}): LoadedEngine {
  const library = loadLibrary(options);
  return { build: library.build, variant: library.variant, devices: listDevices(library) };
}

export function describeEngine(options: LoadOptions = {}): EngineDescription {
  const library = loadLibrary(options);
  return {
    build: library.build,
    variant: library.variant,
    directory: library.location.directory,
    packageName: library.location.packageName,
    variants: [...listCpuVariants(library.location.directory).keys()],
    devices: listDevices(library),
    features: [...library.calls.llama_print_system_info().matchAll(/([A-Z0-9_]+) = 1/g)].map((match) => match[1] ?? ""),
  };
}

/** Threads that a worker takes when it is not told: one for each core, as the engine's own programs do. */
export function defaultThreads(): number {
  return Math.max(1, cpus().length);
}

/** `ggml_backend_dev_type`, by number. */
const DEVICE_KINDS = ["cpu", "gpu", "igpu", "accelerator"] as const;

function listDevices({ calls }: Library): EngineDevice[] {
  return Array.from({ length: Number(calls.ggml_backend_dev_count()) }, (_, index) => {
    const device = calls.ggml_backend_dev_get(index);
    const free = new BigUint64Array(1);
    const total = new BigUint64Array(1);
    calls.ggml_backend_dev_memory(device, free, total);
    return {
      name: calls.ggml_backend_dev_name(device),
      description: calls.ggml_backend_dev_description(device),
      kind: DEVICE_KINDS[calls.ggml_backend_dev_type(device)] ?? "accelerator",
      memoryTotalBytes: Number(total[0]),
      memoryFreeBytes: Number(free[0]),
    };
  });
}
