import { NoodleError } from "../common/index.ts";
import {
  checkProfileFor,
  CostModel,
  type CostModelDocument,
  type ProfileDocument,
  sayBytes,
} from "../profile/index.ts";
import { type Calibration, calibrate, mergeCalibrations, USUAL } from "./calibrate.ts";
import type { Cluster, ClusterNode } from "./cluster-types.ts";
import { imagineCosts, scaleCosts } from "./make-costs.ts";
import type { PlacementModel, PlacementNode } from "./plan-types.ts";

/** Profiles that were read for a cluster. */
export interface ClusterProfiles {
  /** By the path as the cluster's file writes it: `listProfilePaths`. */
  readonly byPath: ReadonlyMap<string, ProfileDocument>;
  /** By the name of a node; goes before what the file says. */
  readonly byNode: ReadonlyMap<string, ProfileDocument>;
  /** Those that imagined machines are calibrated by where their node names none; absent: all. */
  readonly calibrating?: readonly ProfileDocument[];
}

export interface ResolvedNodes {
  readonly nodes: readonly PlacementNode[];
  /** Profiles that do not fit altogether, and what was assumed. */
  readonly notes: readonly string[];
}

/** Of the memory that a machine has, what a stage may take where nobody said how much. */
const MEMORY_SHARE = 0.8;

/** Files that have to be read before `resolveNodes`, as the cluster's file writes them. */
export function listProfilePaths(cluster: Cluster): string[] {
  const paths = cluster.nodes.flatMap(({ costs }) => {
    if (costs.type === "profile") return [costs.profile];
    return costs.type === "hardware" ? costs.calibratedBy : [];
  });
  return [...new Set(paths)];
}

/**
 * Gives every node of a cluster its costs for a model.
 *
 * @param strict refuse a profile of another model file, build or machine instead of noting it
 * @throws NoodleError `PROFILE_MISMATCH` for a profile of a model of another shape or, if strict, of another file;
 *   `CLUSTER_INVALID` for a node without costs; `USAGE` for a profile of a node that there is not
 */
export function resolveNodes(
  cluster: Cluster,
  profiles: ClusterProfiles,
  model: PlacementModel,
  { strict = false }: { readonly strict?: boolean } = {},
): ResolvedNodes {
  const notes = new Set<string>();
  for (const name of profiles.byNode.keys()) {
    if (cluster.nodes.some((node) => node.name === name)) continue;
    const names = cluster.nodes.map((node) => node.name).slice(0, 16);
    throw new NoodleError(
      "USAGE",
      `--profile ${name}=...: there is no node of that name; there are ${names.join(", ")}`,
    );
  }
  const calibrations = new Map<string, Calibration>();
  const models = new Map<string, CostModel>();
  const nodes = cluster.nodes.map((node) =>
    resolveNode({ cluster, profiles, model, strict, notes, calibrations, models }, node),
  );
  return { nodes, notes: [...notes] };
}

interface Resolving {
  readonly cluster: Cluster;
  readonly profiles: ClusterProfiles;
  readonly model: PlacementModel;
  readonly strict: boolean;
  readonly notes: Set<string>;
  readonly calibrations: Map<string, Calibration>;
  /** Nodes that are alike share one. */
  readonly models: Map<string, CostModel>;
}

function resolveNode(resolving: Resolving, node: ClusterNode): PlacementNode {
  const { costs, name, overheadMs } = node;
  const given = resolving.profiles.byNode.get(name);
  if (costs.type === "hardware" && given === undefined) {
    const calibration = findCalibration(resolving, costs.calibratedBy);
    resolving.notes.add(`${name} is imagined from a data sheet, ${calibration.words}`);
    if (node.memoryBytes === null)
      resolving.notes.add(`${name} has no memory in the cluster's file: taken as unlimited`);
    const key = JSON.stringify([costs.hardware, costs.calibratedBy, overheadMs]);
    const make = () => imagineCosts(resolving.model.work, costs.hardware, calibration, overheadMs);
    return {
      name,
      costs: shareCosts(resolving, key, make),
      memoryBytes: node.memoryBytes,
      source: "hardware",
      words: `${costs.hardware.memoryGbPerS} GB/s and ${costs.hardware.computeGflops} GFLOP/s${costs.hardware.devices > 1 ? ` of each of ${costs.hardware.devices} devices` : ""}, ${calibration.words}`,
    };
  }
  const profile = given ?? (costs.type === "profile" ? mustHave(resolving, costs.profile) : undefined);
  if (profile === undefined) {
    throw new NoodleError(
      "CLUSTER_INVALID",
      `node "${name}" has no profile: on its machine \`noodle profile MODEL --out DIR\` makes one (with \`--synthetic\` from the model's header alone, in seconds); give it with --profile ${name}=DIR/profile.json, or write profile: or hardware: in the cluster's file`,
      { details: { node: name } },
    );
  }
  checkFits(resolving, name, profile);
  const scale = given === undefined && costs.type === "profile" ? costs.scale : { decode: 1, prefill: 1 };
  const isScaled = scale.decode !== 1 || scale.prefill !== 1;
  const { machine } = profile;
  const total = machine.memory_total_bytes;
  if (node.memoryBytes === null && total > 0) {
    resolving.notes.add(
      `${name} may take ${sayBytes(total * MEMORY_SHARE)}: four fifths of the memory that its profile tells of`,
    );
  }
  return {
    name,
    costs: shareCosts(resolving, JSON.stringify([given === undefined ? costs : name, scale, overheadMs]), () =>
      scaleCosts(profile.cost_model, scale, overheadMs),
    ),
    memoryBytes: node.memoryBytes ?? (total > 0 ? Math.floor(total * MEMORY_SHARE) : null),
    source: isScaled ? "scaled" : "measured",
    words: isScaled
      ? `${machine.name}'s profile, decode x ${scale.decode}, prefill x ${scale.prefill}`
      : `measured on ${machine.name} (${machine.cpu_model}, ${profile.cost_model.threads} threads)`,
  };
}

function shareCosts({ models }: Resolving, key: string, make: () => CostModelDocument): CostModel {
  const known = models.get(key);
  if (known !== undefined) return known;
  const costs = new CostModel(make());
  models.set(key, costs);
  return costs;
}

function mustHave({ profiles }: Resolving, path: string): ProfileDocument {
  const profile = profiles.byPath.get(path);
  if (profile === undefined) throw new NoodleError("FILE_NOT_FOUND", `the profile ${path} was not read`);
  return profile;
}

/** A profile of another shape tells nothing; one of another file of the same shape is a guess. */
function checkFits({ model, strict, notes }: Resolving, name: string, profile: ProfileDocument): void {
  const { units, embeddingLength, architecture } = model.description;
  const about = profile.model;
  if (
    about.unit_count !== units.length ||
    about.embedding_length !== embeddingLength ||
    about.architecture !== architecture
  ) {
    throw new NoodleError(
      "PROFILE_MISMATCH",
      `the profile of ${name} is of another model: ${about.architecture}, ${about.unit_count} units of width ${about.embedding_length}; this one is ${architecture}, ${units.length} units of width ${embeddingLength}; \`noodle profile MODEL\` on its machine measures this one`,
      { details: { node: name } },
    );
  }
  const covered = new Set(profile.cost_model.classes.flatMap((one) => one.units));
  const missing = units.filter((unit) => !covered.has(unit.index)).map((unit) => unit.index);
  if (missing.length > 0) {
    throw new NoodleError(
      "PROFILE_MISMATCH",
      `the profile of ${name} covers the units ${profile.settings.units} and nothing like unit ${missing[0]}; \`noodle profile MODEL --synthetic\` measures every kind of unit without loading the whole model`,
      { details: { node: name } },
    );
  }
  const differences = checkProfileFor(profile, model.headerSha256 === null ? {} : { headerSha256: model.headerSha256 });
  if (differences.length === 0) return;
  const words = `the profile of ${name} is of something else: ${differences.join("; ")}`;
  if (strict) throw new NoodleError("PROFILE_MISMATCH", `${words}; leave --strict out to use it all the same`);
  notes.add(words);
}

/** One that was asked for, or the middle of all measured machines, or the usual. */
function findCalibration({ profiles, calibrations }: Resolving, paths: readonly string[]): Calibration {
  const key = paths.join("\n");
  const known = calibrations.get(key);
  if (known !== undefined) return known;
  const sources =
    paths.length > 0
      ? paths.flatMap((path) => profiles.byPath.get(path) ?? [])
      : [...new Set(profiles.calibrating ?? [...profiles.byNode.values(), ...profiles.byPath.values()])];
  const found = sources.flatMap((profile) => calibrate(profile) ?? []);
  const calibration = found.length === 0 ? USUAL : mergeCalibrations(found);
  calibrations.set(key, calibration);
  return calibration;
}
