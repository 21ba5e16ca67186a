import { cutChain } from "./chain.ts";
import type { Deadline } from "./deadline.ts";
import type { Objective } from "./document.ts";
import { type Draft, draftOf, measureDraft } from "./draft.ts";
import type { Instance, Piece } from "./instance.ts";
import type { PlanAlternative } from "./plan-document.ts";
import { findAlone } from "./solve/context.ts";
import { keepApart } from "./kinds.ts";

/** Units squared times stages, over all orders that are cut again. */
const WORK_MAX = 2e7;
const KEPT = 3;

/**
 * Other plans that come close, the best first: the quickest node alone, and the plan's neighbours, each with the best cuts
 * for its order: a node left out, two exchanged, a cut moved by one unit. Nothing is claimed about plans further away.
 */
export function listAlternatives(
  instance: Instance,
  plan: Draft,
  objective: Objective,
  deadline: Deadline,
): PlanAlternative[] {
  const goal = objective === "latency" ? "latency" : "period";
  const found: PlanAlternative[] = [];
  const seen = new Set([describe(plan)]);
  const add = (what: string, pieces: readonly Piece[] | null): void => {
    if (pieces === null || seen.has(describe(draftOf(pieces)))) return;
    seen.add(describe(draftOf(pieces)));
    const { figures, value } = measureDraft(instance, draftOf(pieces));
    if (value.violations.length === 0) found.push({ what, ...figures });
  };
  const alone = findAlone(keepApart(instance), instance.capMs);
  if (alone !== null) add("one node alone", alone.pieces);
  if (plan.every((stage) => stage.nodes.length === 1 && stage.pipeline === 0)) {
    const pieces = plan.map(({ nodes, first, end }) => ({ node: nodes[0] as number, first, end }));
    for (const { what, order } of listNeighbours(instance, pieces)) {
      if (deadline.passed) break;
      add(what, cutChain(instance, order, goal, instance.capMs));
    }
    for (const { what, pieces: moved } of listMovedCuts(pieces)) add(what, moved);
  }
  const valueOf = (plan: PlanAlternative): number => (goal === "latency" ? plan.latency_ms : plan.period_ms);
  const sorted = found.sort((a, b) => valueOf(a) - valueOf(b) || a.nodes - b.nodes);
  const kept = sorted.slice(0, KEPT);
  // The answer to "why not on one machine?" is always there.
  const single = sorted.find((plan) => plan.what === "one node alone");
  return single === undefined || kept.includes(single) ? kept : [...kept.slice(0, KEPT - 1), single];
}

function* listNeighbours(
  instance: Instance,
  pieces: readonly Piece[],
): Generator<{ what: string; order: readonly number[] }> {
  const order = pieces.map((piece) => piece.node);
  const idOf = (node: number): string => instance.problem.nodes[node]?.id ?? String(node);
  let work = WORK_MAX;
  const cost = order.length * instance.units ** 2;
  for (const [at, node] of order.entries()) {
    work -= cost;
    if (work < 0 || order.length === 1) return;
    yield { what: `without node ${idOf(node)}`, order: order.toSpliced(at, 1) };
  }
  for (let a = 0; a < order.length; a++) {
    for (let b = a + 1; b < order.length; b++) {
      work -= cost;
      if (work < 0) return;
      const [first, second] = [order[a] as number, order[b] as number];
      yield { what: `${idOf(first)} and ${idOf(second)} exchanged`, order: order.with(a, second).with(b, first) };
    }
  }
}

function* listMovedCuts(pieces: readonly Piece[]): Generator<{ what: string; pieces: readonly Piece[] }> {
  for (let at = 0; at + 1 < pieces.length; at++) {
    const [left, right] = [pieces[at] as Piece, pieces[at + 1] as Piece];
    for (const cut of [left.end - 1, left.end + 1]) {
      if (cut <= left.first || cut >= right.end) continue;
      const moved = pieces.with(at, { ...left, end: cut }).with(at + 1, { ...right, first: cut });
      yield { what: `cut at ${cut} instead of ${left.end}`, pieces: moved };
    }
  }
}

function describe(plan: Draft): string {
  return plan.map(({ nodes, first, end, pipeline }) => `${pipeline}/${nodes.join("+")}@${first}:${end}`).join(",");
}
