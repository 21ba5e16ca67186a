import { Deadline, TimeIsUp } from "../deadline.ts";
import type { Problem } from "../document.ts";
import { draftOf } from "../draft.ts";
import { Incumbent } from "../incumbent.ts";
import { Instance, type Piece } from "../instance.ts";
import { groupKinds } from "../kinds.ts";
import { fitsMemory, solvePeriodByStates } from "../states/period.ts";
import { openStateSpace } from "../states/state-space.ts";
import type { Baseline } from "./baseline.ts";

const STATES_MAX = 2 ** 17;
const NODES_MAX = 64;

/** PipeEdge: the least period by states, with a bandwidth for each node instead of each link, and no overheads. */
export const pipeEdge: Baseline = {
  name: "pipeedge",
  rule: "the least period if every link had the lesser of its ends' bandwidths and stages no overhead (PipeEdge)",
  plan: (instance) => {
    if (instance.nodes.length > NODES_MAX) return { reason: `has more than ${NODES_MAX} nodes` };
    const simple = new Instance(simplify(instance.problem));
    const kinds = groupKinds(simple);
    const space = openStateSpace(kinds, STATES_MAX);
    if (space === null || !fitsMemory(space)) return { reason: `has more than ${STATES_MAX} sets of nodes` };
    const incumbent = new Incumbent<readonly Piece[]>();
    try {
      // Time stands still for it: the number of states bounds the work.
      const deadline = new Deadline(() => 0, Number.POSITIVE_INFINITY);
      const limits = { capMs: Number.POSITIVE_INFINITY, maxNodes: Number.POSITIVE_INFINITY, deadline };
      solvePeriodByStates(space, limits, incumbent);
    } catch (thrown) {
      if (!(thrown instanceof TimeIsUp)) throw thrown;
    }
    if (incumbent.plan === null) return { reason: "the nodes do not hold the model" };
    return { draft: draftOf(kinds.assignNodes(incumbent.plan)) };
  },
};

function simplify(problem: Problem): Problem {
  const { links, max_period_ms: _, ...rest } = problem;
  const nodes = problem.nodes.map(({ overhead_ms: _overhead, ...node }) => node);
  if (links === undefined) return { ...rest, nodes };
  if ((links.pairs ?? []).length === 0) {
    return { ...rest, nodes, links: { default: { ...links.default, latency_ms: 0 } } };
  }
  const rates = new Map(nodes.map((node) => [node.id, links.default.bytes_per_ms]));
  const seen = new Map<string, number>();
  for (const { from, to, bytes_per_ms: rate } of links.pairs ?? []) {
    for (const id of [from, to]) seen.set(id, Math.max(seen.get(id) ?? 0, rate));
  }
  for (const [id, rate] of seen) rates.set(id, rate);
  const pairs = nodes.flatMap((from) =>
    nodes.flatMap((to) => {
      if (from.id === to.id) return [];
      const rate = Math.min(rates.get(from.id) ?? 0, rates.get(to.id) ?? 0);
      return [{ from: from.id, to: to.id, latency_ms: 0, bytes_per_ms: rate }];
    }),
  );
  return { ...rest, nodes, links: { default: { ...links.default, latency_ms: 0 }, pairs } };
}
