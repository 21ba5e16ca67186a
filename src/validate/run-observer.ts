import type { ClusterObserver, StepRecord } from "../observe/index.ts";

/** Collects the steps of a run while it is told to. */
export class RunObserver implements ClusterObserver {
  steps: StepRecord[] = [];
  #collecting = false;

  onStep(record: StepRecord): void {
    if (this.#collecting) this.steps.push(record);
  }

  begin(): void {
    this.steps = [];
    this.#collecting = true;
  }

  end(): readonly StepRecord[] {
    this.#collecting = false;
    return this.steps;
  }
}
