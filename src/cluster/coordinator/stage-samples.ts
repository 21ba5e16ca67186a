import { SampleWindow } from "./stats.ts";

/** Times of one stage in one session, in ms. */
export interface StageSamples {
  readonly computeMs: SampleWindow;
  readonly queueMs: SampleWindow;
  readonly hopMs: SampleWindow;
}

export interface StageTime {
  readonly stage: number;
  readonly computeMs: number;
  readonly queueMs: number;
  /** null while unknown. */
  readonly hopMs: number | null;
}

/** What the stages took for the steps of one session. */
export class SessionTimes {
  readonly #decode: readonly StageSamples[];
  readonly #prefill: readonly StageSamples[];

  constructor(stages: number) {
    this.#decode = Array.from({ length: stages }, createSamples);
    this.#prefill = Array.from({ length: stages }, createSamples);
  }

  /** Adds the times of one step. @param rows of this session in it */
  add(rows: number, times: readonly StageTime[]): void {
    for (const { stage, computeMs, queueMs, hopMs } of times) {
      const samples = (rows === 1 ? this.#decode : this.#prefill)[stage];
      if (samples === undefined) continue;
      samples.computeMs.add(computeMs);
      samples.queueMs.add(queueMs);
      if (hopMs !== null) samples.hopMs.add(hopMs);
    }
  }

  /** Of steps of one row; of longer steps where there were no others. */
  samplesOf(stage: number): StageSamples | undefined {
    const decode = this.#decode[stage];
    return decode === undefined || decode.computeMs.median() === null ? this.#prefill[stage] : decode;
  }
}

function createSamples(): StageSamples {
  return { computeMs: new SampleWindow(), queueMs: new SampleWindow(), hopMs: new SampleWindow() };
}
