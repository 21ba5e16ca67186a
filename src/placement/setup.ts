import { must, NoodleError } from "../common/index.ts";
import type { Problem, ProblemNode } from "../planner/index.ts";
import type { Cluster } from "./cluster-types.ts";
import { findLink, hopMs } from "./links.ts";
import { countReserve, countUnitKv } from "./memory.ts";
import type { PlacementModel, PlacementNode } from "./plan-types.ts";
import { type CompiledWorkload, padRows } from "./workload.ts";

/** Bytes of a frame beside its hidden states, for each row. */
const ROW_BYTES = 64;
const F32_BYTES = 4;

/** A stage of a plan for a model: a node and a half-open range of units. */
export interface StagePlace {
  readonly node: string;
  readonly first: number;
  readonly end: number;
}

/**
 * Everything that a plan is made of, and the abstract problem of it. The problem knows no cuts that are not allowed: its
 * units are the groups of the model's units between two legal cuts.
 */
export class Setup {
  readonly model: PlacementModel;
  readonly cluster: Cluster;
  readonly nodes: readonly PlacementNode[];
  readonly workload: CompiledWorkload;
  /** Where groups begin, and the number of units at the end. */
  readonly bounds: readonly number[];
  /** The least that the coordinator's own hops add to every way round; 0 beside the first stage. */
  readonly extraMs: number;
  /** Whether one node may hold the whole model. */
  readonly #mayStandAlone: boolean;
  readonly #byName: ReadonlyMap<string, PlacementNode>;
  readonly #problems = new Map<number, Problem>();

  constructor(
    model: PlacementModel,
    cluster: Cluster,
    nodes: readonly PlacementNode[],
    workload: CompiledWorkload,
    mayStandAlone = true,
  ) {
    this.#mayStandAlone = mayStandAlone;
    this.model = model;
    this.cluster = cluster;
    this.nodes = nodes;
    this.workload = workload;
    this.bounds = [0, ...model.description.legalCuts, model.description.units.length];
    this.#byName = new Map(nodes.map((node) => [node.name, node]));
    if (nodes.length === 0) throw new NoodleError("CLUSTER_INVALID", "there is no node to plan for");
    const least = (of: (name: string) => number): number => Math.min(...nodes.map((node) => of(node.name)));
    this.extraMs = least((name) => this.enterMs(name, 1)) + least((name) => this.leaveMs(name, 1));
  }

  node(name: string): PlacementNode {
    return must(this.#byName.get(name), `node ${name}`);
  }

  get width(): number {
    return this.model.description.embeddingLength;
  }

  /** Tokens from the coordinator to the first stage. */
  enterMs(name: string, rows: number): number {
    const { coordinator } = this.cluster;
    return coordinator === null ? 0 : hopMs(findLink(this.cluster, coordinator, name), rows * ROW_BYTES);
  }

  /** Sampled tokens from the last stage to the coordinator. */
  leaveMs(name: string, rows: number): number {
    const { coordinator } = this.cluster;
    return coordinator === null ? 0 : hopMs(findLink(this.cluster, name, coordinator), rows * ROW_BYTES);
  }

  /** What travels between two stages for so many rows. */
  activationBytes(rows: number): number {
    return rows * (this.width * F32_BYTES + ROW_BYTES);
  }

  returnBytes(rows: number): number {
    return rows * ROW_BYTES;
  }

  /** The problem of decode micro-batches of so many rows. */
  problem(rows: number): Problem {
    let problem = this.#problems.get(rows);
    if (problem === undefined) {
      problem = this.#build(rows);
      this.#problems.set(rows, problem);
    }
    return problem;
  }

  /**
   * The problem with the coordinator's hops written into the first and the last unit: exact for one micro-batch in
   * flight. Null where it would be the same, but for what all plans have to pay.
   */
  foldEnds(problem: Problem, rows: number): Problem | null {
    const ends = this.nodes.map(({ name }) => [this.enterMs(name, rows), this.leaveMs(name, rows)] as const);
    const [first] = ends;
    if (ends.every(([enter, leave]) => enter === first?.[0] && leave === first[1])) return null;
    const last = problem.units - 1;
    return {
      ...problem,
      nodes: problem.nodes.map((node, index) => ({
        ...node,
        unit_ms: (node.unit_ms ?? []).map((ms, unit) => {
          const [enter, leave] = ends[index] ?? [0, 0];
          return ms + (unit === 0 ? enter : 0) + (unit === last ? leave : 0);
        }),
      })),
    };
  }

  /** Groups of the problem to units of the model. */
  toPlaces(
    stages: readonly { readonly nodes: readonly string[]; readonly first: number; readonly end: number }[],
  ): StagePlace[] {
    return stages.map(({ nodes, first, end }) => ({
      node: must(nodes[0], "node of a stage"),
      first: must(this.bounds[first], "bound"),
      end: must(this.bounds[end], "bound"),
    }));
  }

  /** Units of the model to groups of the problem. @returns null where a stage begins or ends inside a group */
  toStages(places: readonly StagePlace[]): { nodes: string[]; first: number; end: number }[] | null {
    const stages = places.map(({ node, first, end }) => ({
      nodes: [node],
      first: this.bounds.indexOf(first),
      end: this.bounds.indexOf(end),
    }));
    return stages.every((stage) => stage.first >= 0 && stage.end >= 0) ? stages : null;
  }

  /** Of every node: buffers, tensors that all stages copy, and of embedding and head what a tie would count once. */
  get nodeReserveBytes(): number {
    const { units, sharedBytes, tiedBytes } = this.model.description;
    const [embedding, head] = [(units[0]?.bytes ?? 0) - tiedBytes, units.at(-1)?.bytes ?? 0];
    return (
      countReserve(this.model, this.workload) +
      sharedBytes +
      (tiedBytes > 0 ? Math.max(0, Math.min(embedding, head)) : 0)
    );
  }

  #build(rows: number): Problem {
    const { model, workload } = this;
    const query = { phase: "decode", rows: padRows(workload, rows), context: workload.meanContextTokens } as const;
    const unitMs = new Map<PlacementNode["costs"], number[]>();
    const count = this.bounds.length - 1;
    const nodes = this.nodes.map((node): ProblemNode => {
      let ms = unitMs.get(node.costs);
      if (ms === undefined) {
        ms = this.#sumGroups((unit) => node.costs.predict(unit, query).ms);
        unitMs.set(node.costs, ms);
      }
      const free = node.memoryBytes === null ? null : node.memoryBytes - this.nodeReserveBytes;
      return {
        id: node.name,
        unit_ms: ms,
        overhead_ms: node.costs.document.step_overhead_ms.decode,
        ...(free === null ? {} : { memory_bytes: Math.max(0, free) }),
        ...(this.#mayStandAlone ? {} : { max_units: count - 1 }),
      };
    });
    const known = new Set(this.nodes.map((node) => node.name));
    const { links } = this.cluster;
    const { description } = model;
    const last = this.bounds.length - 2;
    const isApart = last > 0 && this.bounds[1] === 1 && this.bounds[last] === description.units.length - 1;
    return {
      units: count,
      unit_bytes: this.#sumGroups((unit) => this.#unitBytes(unit)),
      kv_bytes_per_token: this.#sumGroups((unit) => countUnitKv(model, workload, unit)),
      cache_tokens: 1,
      ...(description.tiedHead && isApart ? { tied_units: [[0, last]] } : {}),
      nodes,
      links: {
        default: { latency_ms: links.default.latencyMs, bytes_per_ms: links.default.bytesPerMs },
        pairs: links.pairs
          .filter(({ from, to }) => known.has(from) && known.has(to))
          .map(({ from, to, link }) => ({ from, to, latency_ms: link.latencyMs, bytes_per_ms: link.bytesPerMs })),
      },
      activation_bytes: this.activationBytes(rows),
      ...(this.cluster.coordinator === null ? { return_bytes: this.returnBytes(rows) } : {}),
      objective: "period",
    };
  }

  #sumGroups(of: (unit: number) => number): number[] {
    return this.bounds.slice(0, -1).map((first, index) => {
      let sum = 0;
      for (let unit = first; unit < must(this.bounds[index + 1], "bound"); unit++) sum += of(unit);
      return sum;
    });
  }

  /** The matrix that embedding and head share is in both; what every stage with blocks copies is in none. */
  #unitBytes(unit: number): number {
    const { units, sharedBytes, tiedBytes } = this.model.description;
    const bytes = must(units[unit], "unit").bytes;
    if (unit === units.length - 1) return bytes + tiedBytes;
    return unit === 1 ? bytes - sharedBytes : bytes;
  }
}
