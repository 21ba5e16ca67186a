import { type ClusterState, describeDrain } from "../state/index.ts";
import type { WorkerLinks } from "./workers.ts";

/** Tells workers that want to leave when they may: as soon as others hold what they held, or when nobody can. */
export class Leavers {
  readonly #tell: WorkerLinks["tell"];
  /** Incarnations that were answered. */
  readonly #answered = new Set<string>();

  constructor(tell: WorkerLinks["tell"]) {
    this.#tell = tell;
  }

  follow(state: ClusterState): void {
    for (const { id, phase, incarnation } of state.nodes.values()) {
      if (phase !== "draining") this.#answered.delete(incarnation);
      if (phase !== "draining" || this.#answered.has(incarnation)) continue;
      const outcome = describeDrain(state, id);
      if (outcome === null) continue;
      this.#answered.add(incarnation);
      this.#tell(id, { case: "drained", value: outcome });
    }
  }
}
