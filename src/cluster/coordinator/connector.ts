import { must, NoodleError } from "../../common/index.ts";
import type { StepResult } from "../../protocol/index.ts";
import { type ClusterState, type Fault, judgeHealth, planHolders } from "../state/index.ts";
import type { Clock } from "./clock.ts";
import { toFault } from "./convert.ts";
import { type FailedStep, isPeerFault, Pipeline } from "./pipeline.ts";
import { StageClient } from "./stage-client.ts";
import type { StepRecorder } from "./step-recorder.ts";

const OPEN_TIMEOUT_MS = 5000;

/**
 * A broken stream alone does not say why. The node's supervisor usually does, within this time; only after it is the
 * stream itself named as the cause.
 */
const CAUSE_GRACE_MS = 1000;
const MAX_RETRY_DELAY_MS = 30_000;
const DEADLINE_CHECK_MS = 250;

export interface ConnectorOptions {
  readonly clock: Clock;
  readonly stepTimeoutMs: number;
  readonly onRoom: () => void;
  readonly onResult: (result: StepResult) => void;
  readonly onStepFailed: (step: FailedStep, fault: Fault) => void;
  /** The pipeline that sessions may use, or null. */
  readonly onPipeline: (pipeline: Pipeline | null) => void;
  /** The streams of this epoch are gone for good, whatever the nodes say. */
  readonly onBroken: (epoch: number, fault: Fault) => void;
  /** Where the steps of this plan are recorded; null where nobody observes. */
  readonly recordSteps: (state: ClusterState, epoch: number) => StepRecorder | null;
}

/** Keeps the pipeline of the current plan open: connects when all stages are ready, lets go when the plan breaks. */
export class Connector {
  readonly #options: ConnectorOptions;
  #pipeline: Pipeline | null = null;
  /** Epoch that was tried last; tried once only, a broken pipeline needs a new epoch. */
  #triedEpoch = -1;
  /** Epoch of the plan while nothing broke it. */
  #intactEpoch: number | null = null;
  #failures = 0;
  #closed = false;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #deadlineTimer: NodeJS.Timeout;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#deadlineTimer = setInterval(() => this.#pipeline?.checkDeadlines(), DEADLINE_CHECK_MS);
  }

  /** Brings the pipeline in line with the state. */
  follow(state: ClusterState): void {
    if (this.#closed) return;
    const intact = state.broken === null ? (state.plan?.epoch ?? null) : null;
    this.#intactEpoch = intact;
    // A worker that drains still serves: what runs may go on.
    if (this.#pipeline !== null && this.#pipeline.epoch !== intact) this.#drop();
    if (intact === null || intact === this.#triedEpoch || judgeHealth(state).status !== "ready") return;
    this.#triedEpoch = intact;
    void this.#connect(state, intact);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#deadlineTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    this.#drop();
  }

  async #connect(state: ClusterState, epoch: number): Promise<void> {
    const { clock, stepTimeoutMs, onRoom, onResult, recordSteps } = this.#options;
    const pipeline = new Pipeline({
      epoch,
      stages: planHolders(state).map((node) => new StageClient(node)),
      clock,
      stepTimeoutMs,
      recorder: recordSteps(state, epoch),
      listener: {
        onRoom,
        onResult,
        onStepFailed: (step, fault) => this.#onStepFailed(step, fault),
        onBroken: (fault) => this.#onBroken(pipeline, fault),
      },
    });
    try {
      await pipeline.open(OPEN_TIMEOUT_MS);
    } catch (thrown) {
      pipeline.close();
      const error = NoodleError.from(thrown);
      this.#reportBroken(epoch, toFault(error, must(pipeline.stages[0], "first stage").nodeId));
      return;
    }
    if (this.#closed || this.#intactEpoch !== epoch) {
      pipeline.close();
      return;
    }
    this.#failures = 0;
    this.#pipeline = pipeline;
    this.#options.onPipeline(pipeline);
  }

  #onBroken(pipeline: Pipeline, fault: Fault): void {
    if (this.#pipeline !== pipeline) return;
    this.#drop();
    this.#reportBroken(pipeline.epoch, fault);
  }

  #reportBroken(epoch: number, fault: Fault): void {
    const delayMs = Math.min(CAUSE_GRACE_MS * 2 ** this.#failures, MAX_RETRY_DELAY_MS);
    this.#failures += 1;
    this.#later(delayMs, () => this.#options.onBroken(epoch, fault));
  }

  #onStepFailed(step: FailedStep, fault: Fault): void {
    if (!isPeerFault(fault)) this.#options.onStepFailed(step, fault);
    else this.#later(CAUSE_GRACE_MS, () => this.#options.onStepFailed(step, fault));
  }

  #later(delayMs: number, action: () => void): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    this.#timers.add(timer);
  }

  #drop(): void {
    const pipeline = this.#pipeline;
    if (pipeline === null) return;
    this.#pipeline = null;
    pipeline.close();
    this.#options.onPipeline(null);
  }
}
