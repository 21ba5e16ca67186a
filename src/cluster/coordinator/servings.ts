import type { StepResult } from "../../protocol/index.ts";
import type { Fault } from "../state/index.ts";
import { toError } from "./convert.ts";
import type { FailedStep, Pipeline } from "./pipeline.ts";
import type { PipelineFacts, Serving } from "./serving.ts";
import type { Session } from "./session.ts";
import type { NoodleError } from "../../common/index.ts";

/** What runs on one plan. */
interface PlanServing {
  readonly serving: Serving;
  /** Set once its pipeline has been open. */
  epoch: number | null;
}

export interface ServingsOptions {
  readonly create: () => Serving;
  /** Nothing runs and nothing waits on the plan of this epoch, which is not in force any more. */
  readonly onFormerIdle: (epoch: number) => void;
}

/** Who serves: the plan in force, and the one before it until its last request has ended. */
export class Servings {
  readonly #options: ServingsOptions;
  #current: PlanServing;
  #former: PlanServing | null = null;

  constructor(options: ServingsOptions) {
    this.#options = options;
    this.#current = { serving: options.create(), epoch: null };
  }

  /** Of the plan in force. */
  get current(): Serving {
    return this.#current.serving;
  }

  /** Of all plans. */
  get sessions(): readonly Session[] {
    return this.#all().flatMap(({ serving }) => [...serving.runner.sessions]);
  }

  isCurrent(serving: Serving): boolean {
    return this.#current.serving === serving;
  }

  /** Steps of this plan may be sent: requests begin on it from now on. */
  open(pipeline: Pipeline, facts: PipelineFacts): void {
    const { serving } = this.#current;
    if (serving.runner.pipeline !== null) {
      this.#former = this.#current;
      this.#current = { serving: this.#options.create(), epoch: null };
    }
    this.#current.epoch = pipeline.epoch;
    this.#current.serving.setPipeline(pipeline, facts);
    this.check();
  }

  close(pipeline: Pipeline): void {
    for (const { serving } of this.#all()) {
      if (serving.runner.pipeline === pipeline) serving.setPipeline(null, null);
    }
  }

  pump(epoch: number): void {
    this.#find(epoch)?.runner.pump();
  }

  receive(epoch: number, result: StepResult): void {
    this.#find(epoch)?.runner.receive(result);
  }

  failStep(step: FailedStep, fault: Fault): void {
    this.#find(step.epoch)?.runner.failStep(step, fault);
  }

  /** Ends a session, whatever plan it runs on. */
  fail(sessionId: Session["id"], fault: Fault): void {
    for (const { serving } of this.#all()) serving.runner.fail(sessionId, toError(fault));
  }

  failAll(error: NoodleError): void {
    for (const { serving } of this.#all()) serving.failAll(error);
  }

  /** To be called when a request has ended: the former plan may have nothing left to do. */
  check(): void {
    const former = this.#former;
    if (former === null || former.epoch === null || !former.serving.isIdle) return;
    this.#former = null;
    former.serving.stop();
    this.#options.onFormerIdle(former.epoch);
  }

  stop(): void {
    for (const { serving } of this.#all()) serving.stop();
  }

  #find(epoch: number): Serving | undefined {
    return this.#all().find((each) => each.epoch === epoch)?.serving;
  }

  #all(): readonly PlanServing[] {
    return this.#former === null ? [this.#current] : [this.#former, this.#current];
  }
}
