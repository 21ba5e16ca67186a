import { must } from "../common/index.ts";
import type { Instance, Piece } from "./instance.ts";

/** Past so many unlike candidates a node is taken for one of its own kind: correct, only less compact. */
const CANDIDATES_MAX = 32;

/**
 * Nodes that are alike in everything, links included, are one kind with a count: swapping two of them changes no plan's
 * value. The solvers work on kinds; `assignNodes` turns their pieces back into pieces of nodes.
 */
export class Kinds {
  readonly instance: Instance;
  /** Of each kind, the nodes in the order of the problem. */
  readonly members: readonly (readonly number[])[];

  constructor(instance: Instance, members: readonly (readonly number[])[]) {
    this.instance = instance;
    this.members = members;
  }

  get size(): number {
    return this.members.length;
  }

  /** A node of the kind: any stands for all. */
  node(kind: number): number {
    return must(this.members[kind]?.[0], `kind ${kind}`);
  }

  /** Nodes of the kind that a plan can use. */
  count(kind: number): number {
    return Math.min(must(this.members[kind], `kind ${kind}`).length, this.instance.units);
  }

  /** The kind of each node. */
  mapNodes(): Map<number, number> {
    return new Map(this.members.flatMap((nodes, kind) => nodes.map((node) => [node, kind] as const)));
  }

  /** Gives every piece of a kind a node of that kind, in order. */
  assignNodes(pieces: readonly Piece[]): Piece[] {
    const used = new Array<number>(this.size).fill(0);
    return pieces.map((piece) => {
      const place = used[piece.node] as number;
      used[piece.node] = place + 1;
      return { ...piece, node: must(this.members[piece.node]?.[place], `node ${place} of kind ${piece.node}`) };
    });
  }

  /** How long an activation occupies the link from a node of one kind to a node of another, or of the same. */
  occupyMs(from: number, to: number): number {
    return this.instance.occupyMs(this.node(from), this.#other(from, to));
  }

  hopMs(from: number, to: number): number {
    return this.instance.hopMs(this.node(from), this.#other(from, to));
  }

  returnMs(from: number, to: number): number {
    return this.instance.returnMs(this.node(from), this.#other(from, to));
  }

  #other(from: number, to: number): number {
    return from === to ? (this.members[from]?.[1] ?? this.node(from)) : this.node(to);
  }
}

/** Finds the kinds of an instance, in the order of their first nodes. */
export function groupKinds(instance: Instance): Kinds {
  const byText = new Map<string, number[][]>();
  const groups: number[][] = [];
  for (const [index, { id: _, ...rest }] of instance.problem.nodes.entries()) {
    const text = describe(rest);
    const candidates = byText.get(text) ?? [];
    byText.set(text, candidates);
    const found = candidates
      .slice(0, CANDIDATES_MAX)
      .find((members) => areSwappable(instance, must(members[0], "member"), index));
    if (found !== undefined) found.push(index);
    else {
      const members = [index];
      candidates.push(members);
      groups.push(members);
    }
  }
  return new Kinds(instance, groups);
}

/** Every node a kind of its own. */
export function keepApart(instance: Instance): Kinds {
  return new Kinds(
    instance,
    instance.nodes.map((_, index) => [index]),
  );
}

function describe(node: Readonly<Record<string, unknown>>): string {
  const table = node["stage_ms_by_count"];
  const sorted =
    typeof table === "object" && table !== null
      ? Object.entries(table).sort(([a], [b]) => Number(a) - Number(b))
      : null;
  return JSON.stringify([node["memory_bytes"], node["overhead_ms"] ?? 0, node["unit_ms"], sorted, node["max_units"]]);
}

function areSwappable(instance: Instance, a: number, b: number): boolean {
  if (!instance.hasOwnLinks(a) && !instance.hasOwnLinks(b)) return true;
  if (!isSameHop(instance, a, b, b, a)) return false;
  for (let other = 0; other < instance.nodes.length; other++) {
    if (other === a || other === b) continue;
    if (!isSameHop(instance, a, other, b, other) || !isSameHop(instance, other, a, other, b)) return false;
  }
  return true;
}

function isSameHop(instance: Instance, a: number, b: number, c: number, d: number): boolean {
  return (
    instance.occupyMs(a, b) === instance.occupyMs(c, d) &&
    instance.hopMs(a, b) === instance.hopMs(c, d) &&
    instance.returnMs(a, b) === instance.returnMs(c, d)
  );
}
