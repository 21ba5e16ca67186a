import { must, NoodleError } from "../../common/index.ts";
import type { StepResult } from "../../protocol/index.ts";
import { type ClusterState, type Fault, isNextReady, judgeHealth, type Plan } from "../state/index.ts";
import type { Transport } from "../../net/index.ts";
import type { Credentials } from "../../security/index.ts";
import type { Clock } from "./clock.ts";
import { toFault } from "./convert.ts";
import { type FailedStep, Pipeline } from "./pipeline.ts";
import { StageClient } from "./stage-client.ts";
import { isStageFault } from "./step-faults.ts";
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
  /** Shown to the stages; null = plaintext. @default null */
  readonly credentials?: Credentials | null;
  readonly transport: Transport;
  /** The streams of a plan are open. */
  readonly onOpened: (pipeline: Pipeline) => void;
  /** The streams of a plan are gone; what ran on it can't go on. */
  readonly onClosed: (pipeline: Pipeline) => void;
  readonly onRoom: (epoch: number) => void;
  readonly onResult: (epoch: number, result: StepResult) => void;
  readonly onStepFailed: (step: FailedStep, fault: Fault) => void;
  /** The streams of this epoch are gone for good, whatever the nodes say. */
  readonly onBroken: (epoch: number, fault: Fault) => void;
  /** Where the steps of a plan are recorded; null where nobody observes. */
  readonly recordSteps: (plan: Plan) => StepRecorder | null;
}

/**
 * Keeps the pipelines of the plans open: of the one in force, of the next as soon as its stages are ready, and of the
 * former while sessions run on it. Lets go of a plan that breaks.
 */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #pipelines = new Map<number, Pipeline>();
  /** Epochs that were tried; each once only, a broken pipeline needs a new epoch. */
  readonly #tried = new Set<number>();
  /** Epochs of the plans that nothing broke. */
  #intact: ReadonlySet<number> = new Set();
  #failures = 0;
  #closed = false;
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #deadlineTimer: NodeJS.Timeout;

  constructor(options: ConnectorOptions) {
    this.#options = options;
    this.#deadlineTimer = setInterval(() => {
      for (const pipeline of this.#pipelines.values()) pipeline.checkDeadlines();
    }, DEADLINE_CHECK_MS);
  }

  /** Brings the pipelines in line with the state. */
  follow(state: ClusterState): void {
    if (this.#closed) return;
    const { plan, broken, next, former } = state;
    const intact = new Set<number>();
    if (former !== null && former.broken === null) intact.add(former.plan.epoch);
    if (plan !== null && broken === null) intact.add(plan.epoch);
    if (next !== null && next.mode === "beside") intact.add(next.plan.epoch);
    this.#intact = intact;
    for (const epoch of this.#tried) if (!intact.has(epoch)) this.#tried.delete(epoch);
    // A worker that drains still serves: what runs may go on.
    for (const [epoch, pipeline] of this.#pipelines) if (!intact.has(epoch)) this.#drop(pipeline);
    if (plan !== null && judgeHealth(state).status === "ready") this.#tryOnce(state, plan);
    if (next !== null && isNextReady(state)) this.#tryOnce(state, next.plan);
  }

  /** A stage of the plan of this epoch did not do what was asked of it: the plan is given up unless it is gone. */
  breakOff(epoch: number, fault: Fault): void {
    const pipeline = this.#pipelines.get(epoch);
    if (pipeline !== undefined) this.#onBroken(pipeline, fault);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#deadlineTimer);
    for (const timer of this.#timers) clearTimeout(timer);
    for (const pipeline of this.#pipelines.values()) this.#drop(pipeline);
  }

  #tryOnce(state: ClusterState, plan: Plan): void {
    if (!this.#intact.has(plan.epoch) || this.#tried.has(plan.epoch)) return;
    this.#tried.add(plan.epoch);
    void this.#connect(state, plan);
  }

  async #connect(state: ClusterState, plan: Plan): Promise<void> {
    const { clock, stepTimeoutMs, onRoom, onResult, recordSteps, credentials, transport } = this.#options;
    const { epoch } = plan;
    const pipeline = new Pipeline({
      epoch,
      stages: plan.stages.map(
        ({ nodeId }) => new StageClient(must(state.nodes.get(nodeId ?? ""), "holder"), credentials, transport),
      ),
      clock,
      stepTimeoutMs,
      recorder: recordSteps(plan),
      listener: {
        onRoom: () => onRoom(epoch),
        onResult: (result) => onResult(epoch, result),
        onStepFailed: (step, fault) => this.#onStepFailed(pipeline, step, fault),
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
    if (this.#closed || !this.#intact.has(epoch)) {
      pipeline.close();
      return;
    }
    this.#failures = 0;
    this.#pipelines.set(epoch, pipeline);
    this.#options.onOpened(pipeline);
  }

  #onBroken(pipeline: Pipeline, fault: Fault): void {
    if (this.#pipelines.get(pipeline.epoch) !== pipeline) return;
    this.#drop(pipeline);
    this.#reportBroken(pipeline.epoch, fault);
  }

  #reportBroken(epoch: number, fault: Fault): void {
    const delayMs = Math.min(CAUSE_GRACE_MS * 2 ** this.#failures, MAX_RETRY_DELAY_MS);
    this.#failures += 1;
    this.#later(delayMs, () => this.#options.onBroken(epoch, fault));
  }

  /** Where a stage is at fault and no request, all that runs is filled into stages of a new epoch. */
  #onStepFailed(pipeline: Pipeline, step: FailedStep, fault: Fault): void {
    if (isStageFault(fault)) this.#onBroken(pipeline, fault);
    else this.#options.onStepFailed(step, fault);
  }

  #later(delayMs: number, action: () => void): void {
    if (this.#closed) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, delayMs);
    this.#timers.add(timer);
  }

  #drop(pipeline: Pipeline): void {
    this.#pipelines.delete(pipeline.epoch);
    pipeline.close();
    this.#options.onClosed(pipeline);
  }
}
