import type { ProfileDocument } from "./types.ts";

/** Where a profile is to be used. What is left out is not compared. */
export interface ProfileUse {
  readonly cpuModel?: string;
  readonly cores?: number;
  readonly memoryTotalBytes?: number;
  readonly engineBuild?: string;
  readonly engineVariant?: string;
  /** SHA-256 of the model's GGUF header. */
  readonly headerSha256?: string;
  readonly unitCount?: number;
  readonly threads?: number;
}

/** Systems report a little more or less memory from start to start. */
const MEMORY_TOLERANCE = 0.02;

/**
 * What differs between the machine, build, model and threads of a profile and those it is to be used for, in words, one
 * for each difference; empty when it fits. Planning warns of them, and refuses them when it is strict.
 */
export function checkProfileFor(profile: ProfileDocument, use: ProfileUse): string[] {
  const { machine, model, settings, cost_model } = profile;
  const differences: string[] = [];
  const compare = (what: string, profiled: string | number, wanted: string | number | undefined): void => {
    if (wanted !== undefined && wanted !== profiled) {
      differences.push(`${what}: profiled with ${profiled}, used with ${wanted}`);
    }
  };
  compare("CPU", machine.cpu_model, use.cpuModel);
  compare("cores", machine.cores, use.cores);
  const wantedBytes = use.memoryTotalBytes;
  const isOtherMemory =
    wantedBytes !== undefined &&
    Math.abs(wantedBytes - machine.memory_total_bytes) > MEMORY_TOLERANCE * machine.memory_total_bytes;
  if (isOtherMemory) compare("bytes of memory", machine.memory_total_bytes, wantedBytes);
  compare("engine build", machine.engine_build, use.engineBuild);
  compare("engine's CPU variant", machine.engine_variant, use.engineVariant);
  if (model.header_sha256 !== null) compare("model header (SHA-256)", model.header_sha256, use.headerSha256);
  compare("units of the model", model.unit_count, use.unitCount);
  compare("threads", cost_model.threads, use.threads);
  if (profile.partial) differences.push(`the profile is partial: ${profile.partial_reason ?? "no reason given"}`);
  const covered = new Set(cost_model.classes.flatMap((unitClass) => unitClass.units));
  const missing = Array.from({ length: model.unit_count }, (_, unit) => unit).filter((unit) => !covered.has(unit));
  if (missing.length > 0) {
    differences.push(`units without a measured class: ${missing.join(" ")} (the profile covers ${settings.units})`);
  }
  return differences;
}
