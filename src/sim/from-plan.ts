import { must, NoodleError } from "../common/index.ts";
import { type Cluster, findLink, type Link, type ModelPlan, type PlacementNode } from "../placement/index.ts";
import type { SchedulePolicy } from "../schedule/index.ts";
import { CostTable } from "./cost-table.ts";
import { listLinkChanges, listSlowdowns } from "./disturbances.ts";
import { COORDINATOR, type Incident, type SimCluster, type SimLink, type SimPipeline } from "./types.ts";

/** What is simulated of a plan for a model. */
export interface PlannedCluster {
  /** A plan that can be run. */
  readonly plan: ModelPlan;
  readonly cluster: Cluster;
  /** Of all nodes of the plan: `resolveNodes`. */
  readonly nodes: readonly PlacementNode[];
  /**
   * Of the cluster's failures, by their place: the plan that goes on without the node. Needed where the plan uses it and
   * it stays away.
   */
  readonly replacements?: ReadonlyMap<number, ModelPlan>;
  /** Sigma of the logarithm of a step's time. @default 0 */
  readonly noise?: number;
  /** Micro-batches that a hop takes. @default 2, as a worker's stream of steps does */
  readonly window?: number;
}

/** A frame's bytes for each row, beside hidden states and for tokens: as the planner counts them. */
const ROW_BYTES = 64;
const F32_BYTES = 4;
const WINDOW = 2;
/** The coordinator gives a silent worker up after so long. */
const DETECT_MS = 3000;
/** Reading and repacking the weights of a stage. */
const LOAD_BYTES_PER_MS = 500_000;
/** A lost packet that nothing follows is sent again after so long (Linux's least). */
const RETRANSMIT_MS = 200;

/**
 * Makes what is simulated of a plan, the cluster's file with its links, slowdowns and failures, and the nodes' costs.
 *
 * @throws NoodleError `PLAN_INVALID` for a plan without stages, a node without costs, or one that fails for good without
 *   a replacement
 */
export function makeSimCluster(input: PlannedCluster): SimCluster {
  const { plan, cluster, nodes, noise = 0 } = input;
  const replacements = [...(input.replacements?.values() ?? [])];
  const pipelines = [makePipeline(plan, input)];
  const names = new Set([plan, ...replacements].flatMap(({ order }) => order));
  return {
    nodes: nodes
      .filter(({ name }) => names.has(name))
      .map(({ name }) => ({ id: name, noise, slowdowns: listSlowdowns(cluster.slowdowns, { node: name }) })),
    links: makeLinks(cluster, [plan, ...replacements]),
    pipelines,
    incidents: listIncidents(input),
  };
}

/** @throws NoodleError `PLAN_INVALID` */
function makePipeline(plan: ModelPlan, { cluster, nodes, window = WINDOW }: PlannedCluster): SimPipeline {
  const { model, workload, policy: written, stages } = plan;
  if (!plan.feasible || written === null || stages.length === 0) {
    throw new NoodleError("PLAN_INVALID", "the plan has no stages: it says that the model cannot be run");
  }
  const policy: SchedulePolicy = {
    stages: stages.length,
    decodeInFlight: written.decode_in_flight,
    maxDecodeRows: written.max_decode_rows,
    prefillRows: written.prefill_rows,
    mixedPrefillRows: written.mixed_prefill_rows,
    slots: written.slots,
    determinism: workload.determinism,
    align: written.align,
    pairFromCells: null,
  };
  const cells = policy.slots * workload.context_tokens;
  const home = findHome(cluster, plan);
  const wayMs = Math.max(
    ...stages.map(({ node }) => findLink(cluster, home, node).latencyMs + findLink(cluster, node, home).latencyMs),
  );
  return {
    policy,
    window,
    contextTokens: workload.context_tokens,
    kvTokens: Math.min(cells, ...stages.map((stage) => countKvTokens(stage, cells))),
    resultBytesPerFrame: 0,
    resultBytesPerRow: ROW_BYTES,
    openMs: wayMs,
    stages: stages.map(({ node, first, end, kv_bytes }, index) => {
      const costs = nodes.find(({ name }) => name === node)?.costs;
      if (costs === undefined) throw new NoodleError("PLAN_INVALID", `the cluster has no node "${node}"`);
      return {
        node,
        first,
        end,
        cost: new CostTable(costs, { first, end }, model.units),
        bytesPerFrame: 0,
        bytesPerRow: index === 0 ? ROW_BYTES : model.embedding_length * F32_BYTES + ROW_BYTES,
        outputRowsOnly: index > 0 && first === model.units - 1,
        kvBytesPerToken: kv_bytes / cells,
      };
    }),
  };
}

/** Tokens of all sessions that a stage's memory has room for. */
function countKvTokens(stage: ModelPlan["stages"][number], cells: number): number {
  const { memory_bytes: memory, weights_bytes: weights, reserve_bytes: reserve, kv_bytes: kv } = stage;
  if (memory === null || kv === 0) return cells;
  return Math.max(0, Math.floor(((memory - weights - reserve) / kv) * cells));
}

/** Where the coordinator runs. */
function findHome(cluster: Cluster, plan: ModelPlan): string {
  return cluster.coordinator ?? must(plan.order[0], "first stage");
}

function makeLinks(cluster: Cluster, plans: readonly ModelPlan[]): SimLink[] {
  const links = new Map<string, SimLink>();
  const add = (from: string, to: string, ids: { readonly from: string; readonly to: string }): void => {
    const key = JSON.stringify([ids.from, ids.to]);
    if (from === to || links.has(key)) return;
    links.set(key, makeLink(cluster, from, to, ids));
  };
  for (const plan of plans) {
    const { order } = plan;
    const home = findHome(cluster, plan);
    const first = must(order[0], "first stage");
    const last = must(order.at(-1), "last stage");
    for (const end of new Set([first, last])) {
      add(home, end, { from: COORDINATOR, to: end });
      add(end, home, { from: end, to: COORDINATOR });
    }
    for (const [index, to] of order.slice(1).entries()) {
      const from = must(order[index], "stage");
      add(from, to, { from, to });
      add(to, from, { from: to, to: from });
    }
  }
  return [...links.values()];
}

function makeLink(
  cluster: Cluster,
  from: string,
  to: string,
  ids: { readonly from: string; readonly to: string },
): SimLink {
  const link: Link = findLink(cluster, from, to);
  const changes = listLinkChanges(cluster.slowdowns, { from, to }, link);
  return {
    ...ids,
    latencyMs: link.latencyMs,
    bytesPerMs: link.bytesPerMs,
    jitterMs: link.jitterMs,
    ...(link.lossRatio > 0
      ? { loss: { ratio: link.lossRatio, burstMs: link.lossBurstMs, retransmitMs: RETRANSMIT_MS } }
      : {}),
    ...(changes.length > 0 ? { changes } : {}),
  };
}

/** Failures of nodes that a plan uses. One that has replaced another does not bring back a node that failed before. */
function listIncidents(input: PlannedCluster): Incident[] {
  const { plan, cluster, replacements } = input;
  let current = plan;
  return cluster.failures
    .map((failure, index) => ({ ...failure, index }))
    .sort((a, b) => a.atS - b.atS)
    .flatMap(({ node, atS, backAfterS, index }): Incident[] => {
      if (!current.order.includes(node)) return [];
      const replacement = replacements?.get(index);
      if (replacement === undefined && backAfterS === null) {
        const words = `${node} fails at ${atS} s and stays away, and there is no plan without it`;
        throw new NoodleError("PLAN_INVALID", words);
      }
      current = replacement ?? current;
      const backMs = replacement === undefined && backAfterS !== null ? 1000 * backAfterS : 0;
      const loadMs = Math.max(...current.stages.map(({ weights_bytes }) => weights_bytes)) / LOAD_BYTES_PER_MS;
      return [
        {
          type: "fail",
          atMs: 1000 * atS,
          node,
          detectMs: DETECT_MS,
          pauseMs: Math.max(0, backMs - DETECT_MS) + loadMs,
          ...(replacement === undefined ? {} : { pipelines: [makePipeline(replacement, input)] }),
        },
      ];
    });
}
