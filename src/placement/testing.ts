import { type DummyOptions, makeDummyHeader } from "../model/index.ts";
import { completeProfile, CostModel, type ProfileDocument } from "../profile/index.ts";
import { LAPTOP, type RooflineMachine, simulateProfile } from "../profile/testing.ts";
import type { Cluster, Link } from "./cluster-types.ts";
import { FREE_LINK } from "./links.ts";
import { scaleCosts } from "./make-costs.ts";
import { describePlacementModel } from "./model.ts";
import type { PlacementModel, PlacementNode } from "./plan-types.ts";

/** A model that is no file, cut anywhere. */
export function makeModel(options: DummyOptions): PlacementModel {
  return describePlacementModel(makeDummyHeader({ vocab: 8192, ...options }), null);
}

/** What profiling the model on a machine of decreed speed gives. */
export function makeProfile(options: DummyOptions, machine: Partial<RooflineMachine> = {}): ProfileDocument {
  const profile = completeProfile(simulateProfile({ model: options, machine: { ...LAPTOP, ...machine } }));
  return { ...profile, model: { ...profile.model, header_sha256: null } };
}

export interface NodeOptions {
  readonly slower?: number;
  readonly memoryBytes?: number | null;
}

export function makeNode(
  name: string,
  profile: ProfileDocument,
  { slower = 1, memoryBytes = null }: NodeOptions = {},
): PlacementNode {
  return {
    name,
    costs: new CostModel(scaleCosts(profile.cost_model, { decode: slower, prefill: slower }, 0)),
    memoryBytes,
    source: "measured",
    words: "made up",
  };
}

export function makeLink(latencyMs: number, bytesPerMs: number): Link {
  return { ...FREE_LINK, latencyMs, bytesPerMs };
}

/** A cluster of these nodes, all links alike but for `pairs` (directed). */
export function makeCluster(
  nodes: readonly PlacementNode[],
  link: Link = FREE_LINK,
  pairs: Cluster["links"]["pairs"] = [],
  coordinator: string | null = null,
): Cluster {
  return {
    name: null,
    coordinator,
    nodes: nodes.map(({ name, memoryBytes }) => ({
      name,
      kind: "real",
      address: null,
      memoryBytes,
      overheadMs: 0,
      costs: { type: "none" },
    })),
    links: { default: link, pairs },
    slowdowns: [],
    failures: [],
  };
}
