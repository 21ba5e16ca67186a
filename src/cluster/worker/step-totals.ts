import type { Phase, PhaseTotals, WorkerTotals } from "../../observe/index.ts";
import type { Frame, FrameTrace } from "../../protocol/index.ts";

const EMPTY: PhaseTotals = { steps: 0, rows: 0, computeNs: 0, queueNs: 0, serializeNs: 0 };

/** Counts what a stage host does. */
export class StepCounter {
  readonly #phases: Record<Phase, PhaseTotals> = { prefill: EMPTY, decode: EMPTY };
  #bytesIn = 0;
  #bytesOut = 0;
  #failedSteps = 0;
  #engineNs = 0;

  get totals(): WorkerTotals {
    const { prefill, decode } = this.#phases;
    return { prefill, decode, bytesIn: this.#bytesIn, bytesOut: this.#bytesOut, failedSteps: this.#failedSteps };
  }

  /** Time that the engine has computed. */
  get engineNs(): number {
    return this.#engineNs;
  }

  /** The engine has computed a step. */
  addEngineTime(computeNs: number): void {
    this.#engineNs += computeNs;
  }

  /** A step was delivered. */
  add(frame: Pick<Frame, "runs" | "tokens">, timing: Omit<FrameTrace, "stage" | "hopNs">): void {
    this.#bytesIn += timing.bytesIn;
    if (timing.computeNs === 0) return;
    const phase: Phase = frame.runs.some((run) => run.rows > 1) ? "prefill" : "decode";
    const { steps, rows, computeNs, queueNs, serializeNs } = this.#phases[phase];
    this.#phases[phase] = {
      steps: steps + 1,
      rows: rows + frame.tokens.length,
      computeNs: computeNs + timing.computeNs,
      queueNs: queueNs + timing.queueNs,
      serializeNs: serializeNs + timing.serializeNs,
    };
  }

  addSent(bytes: number): void {
    this.#bytesOut += bytes;
  }

  addFailure(): void {
    this.#failedSteps += 1;
  }
}
