import { must, NoodleError } from "../common/index.ts";
import {
  classifyGraph,
  findPointNodes,
  type GraphNode,
  type GraphStage,
  type Hook,
  type HookLevel,
  type HookPair,
  type NodeMeaning,
  type PlannedSegment,
  planSegments,
} from "../observe/index.ts";

/** A hook and the point that it was called for. */
export interface PointHook {
  readonly point: string;
  readonly hook: Hook;
}

/** A segment's end, and what happens there. */
export interface Boundary extends PlannedSegment {
  readonly pre: readonly PointHook[];
  readonly post: readonly PointHook[];
}

/** Where to stop in a graph, in the form that a callback can follow with one array access for each node. */
export interface GraphPlan {
  /** Nodes of the graph, views included. */
  readonly nodes: number;
  /** One entry for each node: 1 where the engine is asked to stop. */
  readonly stops: Uint8Array;
  /** One entry for each stop, in order. */
  readonly boundaries: readonly Boundary[];
  /** Hooks on the hidden state that came in, which no node makes. */
  readonly entry: Pick<Boundary, "unit" | "role" | "pre" | "post"> | undefined;
  /** First four bytes of the name at each stop, and its last three with the zero behind them, with their place. */
  readonly nameHeads: Int32Array;
  readonly nameTails: Int32Array;
  readonly tailOffsets: Int32Array;
}

/** A computation graph that was read once, and the ways of stopping in it. */
export class LearnedGraph {
  readonly nodes: readonly GraphNode[];
  readonly meanings: readonly NodeMeaning[];
  /** Computing nodes that no rule could name. */
  readonly otherNodes: number;
  readonly #points: ReadonlyMap<string, number>;
  readonly #stage: GraphStage;
  /** A node to stop at whatever is observed, or -1. */
  readonly #output: number;
  readonly #plans = new Map<HookLevel | null, GraphPlan>();
  #hooks: ReadonlyMap<string, HookPair> | undefined;

  /** @param stopsAtEnd the walk ends at the last of `nodes`, which must be a stop */
  constructor(nodes: readonly GraphNode[], stage: GraphStage, stopsAtEnd: boolean) {
    this.nodes = nodes;
    this.#stage = stage;
    this.meanings = classifyGraph(nodes, stage);
    this.otherNodes = nodes.filter((node) => !node.isView && this.meanings[node.ordinal]?.role === "other").length;
    this.#points = findPointNodes(nodes, this.meanings, stage);
    this.#output = stopsAtEnd ? nodes.length - 1 : -1;
  }

  /** @throws NoodleError `HOOK_POINT_UNKNOWN` when the graph does not show a point that has a hook */
  plan(level: HookLevel | null, hooks: ReadonlyMap<string, HookPair>): GraphPlan {
    if (this.#hooks !== hooks) this.#plans.clear();
    this.#hooks = hooks;
    const known = this.#plans.get(level);
    if (known !== undefined) return known;
    const plan = this.#makePlan(level, hooks);
    this.#plans.set(level, plan);
    return plan;
  }

  #makePlan(level: HookLevel | null, hooks: ReadonlyMap<string, HookPair>): GraphPlan {
    const { nodes, meanings } = this;
    const hooked = this.#placeHooks(hooks);
    const extra = [...hooked.keys()].filter((ordinal) => ordinal >= 0);
    if (this.#output >= 0) extra.push(this.#output);
    const none = { pre: [], post: [] };
    const boundaries = planSegments(nodes, meanings, level, extra).map((segment) => ({
      ...segment,
      ...(hooked.get(segment.end) ?? none),
    }));
    const stops = new Uint8Array(nodes.length);
    for (const { end } of boundaries) stops[end] = 1;
    const names = boundaries.map(({ end }) => Buffer.from(`${must(nodes[end], "node").name}\0`, "latin1"));
    const wordAt = (name: Buffer, offset: number): number => (name.length < 4 ? 0 : name.readInt32LE(offset));
    const entry = hooked.get(-1);
    return {
      nodes: nodes.length,
      stops,
      boundaries,
      entry: entry === undefined ? undefined : { unit: this.#stage.units.first, role: "transfer", ...entry },
      nameHeads: Int32Array.from(names, (name) => wordAt(name, 0)),
      nameTails: Int32Array.from(names, (name) => wordAt(name, name.length - 4)),
      // A name too short to be read whole is not looked at.
      tailOffsets: Int32Array.from(names, (name) => name.length - 4),
    };
  }

  /** Hooks by the ordinal of the node whose tensor they see. */
  #placeHooks(hooks: ReadonlyMap<string, HookPair>): ReadonlyMap<number, { pre: PointHook[]; post: PointHook[] }> {
    const placed = new Map<number, { pre: PointHook[]; post: PointHook[] }>();
    for (const [point, pair] of hooks) {
      const ordinal = this.#points.get(point);
      if (ordinal === undefined) {
        throw new NoodleError("HOOK_POINT_UNKNOWN", `the graph of this architecture does not show ${point}`, {
          details: { point, legal: [...this.#points.keys()] },
        });
      }
      const at = placed.get(ordinal) ?? { pre: [], post: [] };
      if (pair.pre !== undefined) at.pre.push({ point, hook: pair.pre });
      if (pair.post !== undefined) at.post.push({ point, hook: pair.post });
      placed.set(ordinal, at);
    }
    return placed;
  }
}
