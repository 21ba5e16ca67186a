import { cutChain } from "../chain.ts";
import type { Incumbent } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import { latencyOf } from "./latency-of.ts";

const ORDERS_MAX = 24;

/** Orders of nodes of earlier plans: with other cuts they are good plans for a smaller limit of the period, too. */
export class OrderPool {
  readonly #kinds: Kinds;
  readonly #orders = new Map<string, readonly number[]>();

  constructor(kinds: Kinds) {
    this.#kinds = kinds;
  }

  /** @param pieces of kinds */
  add(pieces: readonly Piece[]): void {
    const order = pieces.map((piece) => piece.node);
    const key = order.join(" ");
    // The latest are the likeliest to be of use again.
    this.#orders.delete(key);
    this.#orders.set(key, order);
    const oldest = this.#orders.keys().next();
    if (this.#orders.size > ORDERS_MAX && oldest.done !== true) this.#orders.delete(oldest.value);
  }

  /** Offers the best cuts of each order within the limit. */
  offerTo(incumbent: Incumbent<readonly Piece[]>, limitMs: number): void {
    for (const order of this.#orders.values()) {
      const nodes = this.#kinds.assignNodes(order.map((node) => ({ node, first: 0, end: 0 }))).map(({ node }) => node);
      const cut = cutChain(this.#kinds.instance, nodes, "latency", limitMs);
      if (cut === null) continue;
      const pieces = cut.map((piece, place) => ({ ...piece, node: order[place] as number }));
      incumbent.offer(pieces, latencyOf(this.#kinds, pieces));
    }
  }
}
