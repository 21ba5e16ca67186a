import type { LoopDecision } from "./types.ts";

/** What has not changed is said again after so long. */
const REPEAT_MS = 600_000;

/** Leaves out decisions that say what the one before said. */
export class Journal {
  #key = "";
  #saidMs = Number.NEGATIVE_INFINITY;
  #left = 0;

  /** @param key what the decision says, figures apart @returns null where it was said already */
  filter(decision: LoopDecision, key: string): LoopDecision | null {
    const { event } = decision;
    if (decision.action !== "move" && key === this.#key && event.atMs - this.#saidMs < REPEAT_MS) {
      this.#left += 1;
      return null;
    }
    const repeated = this.#left;
    this.#key = key;
    this.#saidMs = event.atMs;
    this.#left = 0;
    return repeated === 0
      ? decision
      : { ...decision, event: { ...event, figures: { ...event.figures, left_out_before: repeated } } };
  }
}
