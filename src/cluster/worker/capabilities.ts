import { readFileSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { availableParallelism, cpus, freemem, hostname, totalmem } from "node:os";
import { create } from "@bufbuild/protobuf";
import type { LoadedEngine } from "../../engine/index.ts";
import { type Capabilities, CapabilitiesSchema, PROTOCOL_VERSION } from "../../protocol/index.ts";

export interface CapabilityFacts {
  readonly nodeId: string;
  readonly name: string;
  readonly noodlecoreVersion: string;
  readonly engine: LoadedEngine;
  readonly dataDirectory: string;
  /** `--memory`; 0 = what is free at start. */
  readonly memoryLimitBytes: number;
  readonly threads: number;
}

/** Reads what this machine can do. The data directory must exist. */
export async function collectCapabilities(facts: CapabilityFacts): Promise<Capabilities> {
  const memory = readMemory();
  const disk = await statfs(facts.dataDirectory);
  const cpu = readCpu();
  return create(CapabilitiesSchema, {
    protocolVersion: PROTOCOL_VERSION,
    nodeId: facts.nodeId,
    name: facts.name === "" ? hostname() : facts.name,
    noodlecoreVersion: facts.noodlecoreVersion,
    engineBuild: facts.engine.build,
    cpuVariant: facts.engine.variant,
    cpuModel: cpu.model,
    cpuFeatures: [...cpu.features],
    cores: availableParallelism(),
    memoryTotalBytes: BigInt(memory.totalBytes),
    memoryFreeBytes: BigInt(memory.freeBytes),
    memoryLimitBytes: BigInt(facts.memoryLimitBytes),
    devices: facts.engine.devices.map(({ description, kind, memoryTotalBytes, memoryFreeBytes }) => ({
      name: description,
      kind,
      memoryTotalBytes: BigInt(memoryTotalBytes),
      memoryFreeBytes: BigInt(memoryFreeBytes),
    })),
    diskFreeBytes: BigInt(disk.bavail) * BigInt(disk.bsize),
    dataDirectory: facts.dataDirectory,
    threads: facts.threads,
    platform: `${process.platform}-${process.arch}`,
  });
}

/** The machine's memory, or the container's where that is less. */
export function readMemory(): { readonly totalBytes: number; readonly freeBytes: number } {
  const constrained = process.constrainedMemory();
  // Without a limit the kernel reports 0 or a number beyond any machine.
  const totalBytes = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return { totalBytes, freeBytes: Math.min(freemem(), totalBytes) };
}

interface CpuFacts {
  readonly model: string;
  readonly features: readonly string[];
}

function readCpu(): CpuFacts {
  const model = cpus()[0]?.model.trim() ?? "";
  try {
    return parseCpuInfo(readFileSync("/proc/cpuinfo", "utf8"), model);
  } catch {
    // Only Linux has the file; elsewhere the flags stay unknown.
    return { model, features: [] };
  }
}

/** x86 says `flags`, ARM says `Features`; ARM gives no model name. */
export function parseCpuInfo(text: string, fallbackModel: string): CpuFacts {
  const field = (names: readonly string[]): string | undefined =>
    text
      .split("\n")
      .map((line) => line.split(":"))
      .find(([name]) => names.includes((name ?? "").trim()))?.[1]
      ?.trim();
  const flags = field(["flags", "Features"]);
  const model = field(["model name"]) ?? fallbackModel;
  return { model: model === "" ? process.arch : model, features: flags === undefined ? [] : flags.split(/\s+/) };
}
