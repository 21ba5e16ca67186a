import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, freemem, hostname, totalmem } from "node:os";
import { join } from "node:path";

/** What the system tells of this machine without measuring. */
export interface MachineFacts {
  readonly name: string;
  readonly platform: string;
  readonly cpuModel: string;
  readonly cores: number;
  readonly cpuFeatures: readonly string[];
  /** Of the first core's caches; 0 = unknown. */
  readonly cacheBytes: { readonly l1d: number; readonly l2: number; readonly l3: number };
  /** The machine's, or the container's where that is less. */
  readonly memoryTotalBytes: number;
  readonly memoryFreeBytes: number;
}

const CPU_INFO = "/proc/cpuinfo";
const CACHES = "/sys/devices/system/cpu/cpu0/cache";

export function readMachine(): MachineFacts {
  const constrained = process.constrainedMemory();
  // Without a limit the kernel reports 0 or a number beyond any machine.
  const memoryTotalBytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  const info = readText(CPU_INFO) ?? "";
  return {
    name: hostname(),
    platform: `${process.platform}-${process.arch}`,
    cpuModel: cpus()[0]?.model.trim() || parseCpuField(info, ["model name"]) || process.arch,
    cores: availableParallelism(),
    cpuFeatures: parseCpuField(info, ["flags", "Features"])?.split(/\s+/) ?? [],
    cacheBytes: parseCaches(readCaches()),
    memoryTotalBytes,
    memoryFreeBytes: Math.min(freemem(), memoryTotalBytes),
  };
}

/** x86 says `flags`, ARM says `Features`. @returns undefined where there is no such line */
export function parseCpuField(text: string, names: readonly string[]): string | undefined {
  const line = text.split("\n").find((each) => names.includes((each.split(":")[0] ?? "").trim()));
  const value = line?.slice(line.indexOf(":") + 1).trim();
  return value === "" ? undefined : value;
}

/** One cache as Linux describes it: `level`, `type` and `size` are files. */
export interface CacheEntry {
  readonly level: string;
  readonly type: string;
  /** `32K`, `8M`. */
  readonly size: string;
}

export function parseCaches(entries: readonly CacheEntry[]): MachineFacts["cacheBytes"] {
  const sizeOf = (level: string): number => {
    const entry = entries.find((each) => each.level.trim() === level && each.type.trim() !== "Instruction");
    return entry === undefined ? 0 : parseSize(entry.size);
  };
  return { l1d: sizeOf("1"), l2: sizeOf("2"), l3: sizeOf("3") };
}

function parseSize(text: string): number {
  const match = /^(\d+)([KMG]?)$/.exec(text.trim());
  const factor = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[match?.[2] ?? ""] ?? 1;
  return match === null ? 0 : Number(match[1]) * factor;
}

/** Only Linux has these files; elsewhere the sizes stay unknown. */
function readCaches(): CacheEntry[] {
  try {
    return readdirSync(CACHES)
      .filter((name) => /^index\d+$/.test(name))
      .map((name) => {
        const read = (file: string): string => readText(join(CACHES, name, file)) ?? "";
        return { level: read("level"), type: read("type"), size: read("size") };
      });
  } catch {
    return [];
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
