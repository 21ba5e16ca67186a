import { must, NoodleError } from "../common/index.ts";
import { Hop } from "./hop.ts";
import { LinkState } from "./link-state.ts";
import { NodeState } from "./node-state.ts";
import { PipelineState, StageState } from "./pipeline-state.ts";
import { COORDINATOR, type SimCluster, type SimPipeline } from "./types.ts";

const NO_LIMIT = { latencyMs: 0, bytesPerMs: Number.POSITIVE_INFINITY };

/** Nodes and links with what has happened to them, and the pipelines that were ever made of them. */
export class ClusterState {
  readonly nodes = new Map<string, NodeState>();
  readonly links = new Map<string, LinkState>();
  /** By their index, those that were given up among them. */
  readonly pipelines: PipelineState[] = [];
  readonly #cluster: SimCluster;
  readonly #seed: number;

  /** @param cluster checked */
  constructor(cluster: SimCluster, seed: number) {
    this.#cluster = cluster;
    this.#seed = seed;
    for (const [index, node] of cluster.nodes.entries()) this.nodes.set(node.id, new NodeState(index, node, seed));
    for (const spec of cluster.pipelines) this.addPipeline(spec);
  }

  /** @throws PLAN_INVALID for a stage on a node that the cluster does not have */
  addPipeline(spec: SimPipeline): PipelineState {
    const names = [COORDINATOR, ...spec.stages.map(({ node }) => node)];
    const stages = spec.stages.map((stage, index) => {
      const node = this.nodes.get(stage.node);
      if (node === undefined) throw new NoodleError("PLAN_INVALID", `the cluster has no node "${stage.node}"`);
      const [from, to] = [must(names[index], "node"), stage.node];
      const hop = new Hop(this.#findLink(from, to), this.#findLink(to, from), spec.window, stage);
      return new StageState(index, stage, node, hop);
    });
    const results = this.#findLink(must(names.at(-1), "node"), COORDINATOR);
    const pipeline = new PipelineState(this.pipelines.length, spec, stages, results);
    this.pipelines.push(pipeline);
    return pipeline;
  }

  #findLink(from: string, to: string): LinkState {
    const key = JSON.stringify([from, to]);
    const known = this.links.get(key);
    if (known !== undefined) return known;
    const spec = this.#cluster.links.find((link) => link.from === from && link.to === to);
    const fallback = from === to ? NO_LIMIT : (this.#cluster.defaultLink ?? NO_LIMIT);
    const link = new LinkState(spec ?? { from, to, ...fallback }, this.#seed);
    this.links.set(key, link);
    return link;
  }
}
