import { must } from "../../common/index.ts";

const STRETCH_STEPS = 8;
const MAX_STRETCHES = 64;

/** A step as the timeline draws it; times in milliseconds. */
export interface TimelineStep {
  readonly stepId: number;
  readonly epoch: number;
  readonly phase: string;
  readonly rows: number;
  /** On the coordinator's monotonic clock. */
  readonly sentMs: number;
  readonly receivedMs: number;
  readonly stages: readonly {
    readonly stage: number;
    readonly hopMs: number | null;
    readonly queueMs: number;
    readonly computeMs: number;
    readonly serializeMs: number;
  }[];
}

/**
 * Keeps a few stretches of neighbouring steps, evenly spread over a run of unknown length, and gives the one whose time
 * is in the middle: what the pipeline usually does, rather than its first or its worst moment.
 */
export class TypicalStretch {
  #stretches: TimelineStep[][] = [];
  #current: TimelineStep[] = [];
  #seen = 0;
  #stride = 1;

  add(step: TimelineStep): void {
    const last = this.#current.at(-1);
    if (last !== undefined && last.epoch !== step.epoch) this.#current = [];
    this.#current.push(step);
    if (this.#current.length < STRETCH_STEPS) return;
    if (this.#seen % this.#stride === 0) this.#stretches.push(this.#current);
    this.#seen += 1;
    this.#current = [];
    if (this.#stretches.length <= MAX_STRETCHES) return;
    this.#stretches = this.#stretches.filter((_, index) => index % 2 === 0);
    this.#stride *= 2;
  }

  /** Steps of the stretch in the middle, of `epoch` if there are any; all that there was when it was too short. */
  choose(epoch: number): readonly TimelineStep[] {
    const whole = this.#stretches.filter((stretch) => stretch[0]?.epoch === epoch);
    if (whole.length === 0) return this.#current.filter((step) => step.epoch === epoch);
    const sorted = [...whole].sort((a, b) => spanMs(a) - spanMs(b));
    return must(sorted[Math.floor((sorted.length - 1) / 2)], "the middle of a list that is not empty");
  }
}

function spanMs(steps: readonly TimelineStep[]): number {
  const first = steps[0];
  const last = steps.at(-1);
  return first === undefined || last === undefined ? 0 : last.receivedMs - first.sentMs;
}
