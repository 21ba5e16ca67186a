import { type Cluster, type PlacementModel, type PlacementNode, resolveNodes } from "../placement/index.ts";
import type { ProfileDocument } from "../profile/index.ts";
import type { LinkShape } from "./types.ts";

const PROFILE = "profile";
/** Loopback. */
const FREE_BYTES_PER_MS = 1.25e6;

/** The workers as a cluster's file would say: virtual nodes, each the profile of this machine with its own scale. */
export function makeVirtualCluster(
  model: PlacementModel,
  profiles: readonly ProfileDocument[],
  slowness: readonly number[],
  shape: LinkShape | null,
): { readonly cluster: Cluster; readonly nodes: readonly PlacementNode[]; readonly notes: readonly string[] } {
  const cluster: Cluster = {
    name: null,
    coordinator: null,
    nodes: slowness.map((factor, index) => ({
      name: `worker-${index + 1}`,
      kind: "virtual",
      address: null,
      memoryBytes: null,
      overheadMs: 0,
      costs: { type: "profile", profile: `${PROFILE} ${index}`, scale: { decode: factor, prefill: factor } },
    })),
    links: {
      default: {
        latencyMs: shape?.latencyMs ?? 0,
        bytesPerMs: shape?.bytesPerMs ?? FREE_BYTES_PER_MS,
        jitterMs: shape?.jitterMs ?? 0,
        lossRatio: 0,
        lossBurstMs: 0,
      },
      pairs: [],
    },
    slowdowns: [],
    failures: [],
  };
  const byPath = new Map(profiles.map((profile, index) => [`${PROFILE} ${index}`, profile]));
  const { nodes, notes } = resolveNodes(cluster, { byPath, byNode: new Map() }, model);
  return { cluster, nodes, notes };
}
