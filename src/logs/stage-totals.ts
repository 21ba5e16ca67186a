import type { LogRows } from "./schemas.ts";

/** What one stage spent on the steps that were added. */
export interface StageTotal {
  readonly stage: number;
  readonly nodeId: string;
  readonly steps: number;
  readonly queueNs: number;
  readonly computeNs: number;
  readonly serializeNs: number;
  readonly hopNs: number;
  /** Those steps whose way in was known: what `hopNs` is the sum of. */
  readonly hopSteps: number;
}

/** No plan has so many stages on so many workers; bytes of unknown origin may say so. */
const MAX_STAGES = 4096;

/** Adds up where the time of steps went. */
export class StageTotals {
  readonly #totals = new Map<string, { -readonly [Key in keyof StageTotal]: StageTotal[Key] }>();

  add(step: LogRows["step"]): void {
    for (const { stage, node_id, queue_ns, compute_ns, serialize_ns, hop_ns } of step.stages) {
      const key = `${stage} ${node_id}`;
      let total = this.#totals.get(key);
      if (total === undefined) {
        if (this.#totals.size >= MAX_STAGES) continue;
        total = { stage, nodeId: node_id, steps: 0, queueNs: 0, computeNs: 0, serializeNs: 0, hopNs: 0, hopSteps: 0 };
        this.#totals.set(key, total);
      }
      total.steps += 1;
      total.queueNs += queue_ns;
      total.computeNs += compute_ns;
      total.serializeNs += serialize_ns;
      if (hop_ns === null) continue;
      total.hopNs += hop_ns;
      total.hopSteps += 1;
    }
  }

  /** By stage, then in the order in which the workers had it. */
  list(): readonly StageTotal[] {
    return [...this.#totals.values()].sort((left, right) => left.stage - right.stage);
  }
}
