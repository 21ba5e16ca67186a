import { Random } from "./random.ts";
import type { Batch } from "./batch.ts";
import type { SimNode } from "./types.ts";

/** A node while the simulation runs: computes one engine call after another, in the order in which they came. */
export class NodeState {
  readonly index: number;
  readonly id: string;
  /** What it computes now. */
  current: Batch | null = null;
  readonly queue: Batch[] = [];
  /** It has failed: nothing that comes is computed. */
  down = false;
  /** Time in which it computed. */
  busyMs = 0;
  #slowdown = 0;
  #factor = 1;
  readonly #node: SimNode;
  readonly #noise: number;
  readonly #random: Random;

  constructor(index: number, node: SimNode, seed: number) {
    this.index = index;
    this.id = node.id;
    this.#node = node;
    this.#noise = node.noise ?? 0;
    this.#random = new Random(seed, `noise ${node.id}`);
  }

  /** When work that begins now is done: noise drawn, slowdowns followed piece by piece. */
  finish(startMs: number, workMs: number): number {
    let leftMs = this.#noise === 0 ? workMs : workMs * this.#random.lognormal(this.#noise);
    const { slowdowns } = this.#node;
    if (slowdowns === undefined) return startMs + leftMs;
    let nowMs = startMs;
    for (;;) {
      const next = slowdowns[this.#slowdown];
      if (next === undefined || next.atMs >= nowMs + leftMs * this.#factor) return nowMs + leftMs * this.#factor;
      if (next.atMs > nowMs) {
        leftMs -= (next.atMs - nowMs) / this.#factor;
        nowMs = next.atMs;
      }
      this.#factor = next.factor;
      this.#slowdown += 1;
    }
  }
}
