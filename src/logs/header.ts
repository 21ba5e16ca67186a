import { cpus, hostname } from "node:os";
import { ANCHOR_UNCERTAINTY_NS, type ClockAnchor } from "./clock.ts";

/** What the headers say beside time and place. */
export interface LogFacts {
  readonly noodlecoreVersion: string;
  /** Null where no engine is loaded. */
  readonly engineBuild: string | null;
  readonly engineVariant: string | null;
}

export interface LogModel {
  readonly name: string | null;
  /** SHA-256 of the file, hex; null while not hashed. */
  readonly sourceSha256: string | null;
  readonly units: number;
}

export interface LogPlan {
  readonly epoch: number;
  readonly split: string;
  readonly hash: string;
}

export interface HostFacts {
  readonly name: string;
  readonly platform: string;
  readonly cpu: string;
  readonly cores: number;
}

export function readHostFacts(): HostFacts {
  const list = cpus();
  return {
    name: hostname(),
    platform: `${process.platform} ${process.arch}`,
    cpu: list[0]?.model.trim() ?? "unknown",
    cores: list.length,
  };
}

/** The part of a header that does not change while a process runs. */
export function describeProducer(facts: LogFacts, host: HostFacts, anchor: ClockAnchor): Record<string, unknown> {
  return {
    versions: {
      noodlecore: facts.noodlecoreVersion,
      node: process.version,
      engine_build: facts.engineBuild,
      engine_variant: facts.engineVariant,
    },
    host,
    clock: {
      mono: "process.hrtime",
      wall: "Date.now",
      anchor_mono_ns: anchor.monoNs,
      anchor_unix_ns: anchor.unixNs,
      anchor_uncertainty_ns: ANCHOR_UNCERTAINTY_NS,
      resolution_ns: 1,
    },
  };
}

/** The part that becomes known, or changes, while it runs. */
export function describeWork(model: LogModel | null, plan: LogPlan | null): Record<string, unknown> {
  return {
    model: model === null ? null : { name: model.name, source_sha256: model.sourceSha256, units: model.units },
    plan: plan === null ? null : { epoch: plan.epoch, split: plan.split, hash: plan.hash },
  };
}
