import { packBlocks } from "../blocks/knapsack.ts";
import { type Deadline, TimeIsUp } from "../deadline.ts";
import type { Incumbent } from "../incumbent.ts";
import type { Piece } from "../instance.ts";
import type { Kinds } from "../kinds.ts";
import type { LatencyMethod } from "./solve.ts";

/** The least latency by counting blocks, where they are alike and hops equal. */
export class BlockLatency implements LatencyMethod {
  readonly algorithm = "block-knapsack";
  readonly #kinds: Kinds;
  readonly #kindOf: ReadonlyMap<number, number>;
  readonly #deadline: Deadline;
  #wasCut = false;

  constructor(kinds: Kinds, deadline: Deadline) {
    this.#kinds = kinds;
    this.#kindOf = kinds.mapNodes();
    this.#deadline = deadline;
  }

  get wasCut(): boolean {
    return this.#wasCut;
  }

  solve(limitMs: number, incumbent: Incumbent<readonly Piece[]>): void {
    const { instance } = this.#kinds;
    try {
      const isOpen = instance.nodes.length > 1 && instance.occupyMs(0, 1) <= limitMs;
      const found = isOpen ? packBlocks(instance, limitMs, "latency", this.#deadline) : null;
      if (found !== null) {
        const pieces = found.pieces.map((piece) => ({ ...piece, node: this.#kindOf.get(piece.node) ?? 0 }));
        incumbent.offer(pieces, found.cost + instance.returnMs(0, 1));
      }
      incumbent.raise(incumbent.value);
    } catch (thrown) {
      if (!(thrown instanceof TimeIsUp)) throw thrown;
      this.#wasCut = true;
    }
  }
}
