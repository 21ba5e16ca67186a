import type { Clock } from "./clock.ts";
import type { Pipeline } from "./pipeline.ts";
import { type PipelineFacts, PolicyKeeper, type PolicyKeeperOptions } from "./policy-keeper.ts";
import type { RequestRecorder } from "./request-recorder.ts";
import { SessionRunner } from "./runner.ts";
import type { Session } from "./session.ts";

export interface PlanRunOptions {
  readonly clock: Clock;
  /** Null where nobody observes. */
  readonly recorder: RequestRecorder | null;
  readonly policy: PolicyKeeperOptions;
  readonly onPolicy: (run: PlanRun) => void;
  /** A session that stood still has its next token. */
  readonly onResumed: (session: Session) => void;
}

/** The sessions of one plan, its pipeline and its policy. The pipeline can be gone: then its sessions stand still. */
export class PlanRun {
  readonly runner: SessionRunner;
  readonly keeper: PolicyKeeper;
  readonly #onPolicy: (run: PlanRun) => void;

  constructor({ clock, recorder, policy, onPolicy, onResumed }: PlanRunOptions) {
    this.keeper = new PolicyKeeper(policy);
    this.#onPolicy = onPolicy;
    this.runner = new SessionRunner({
      clock,
      recorder,
      meter: this.keeper.meter,
      onResumed,
      onStep: () => {
        if (this.keeper.isDue) this.#choosePolicy();
      },
    });
  }

  /** Null while there is none. */
  get pipeline(): Pipeline | null {
    return this.runner.pipeline;
  }

  get sessions(): readonly Session[] {
    return [...this.runner.sessions];
  }

  /** Steps may be sent. Sessions that were opened on another pipeline do not take any before they are opened on this one. */
  open(pipeline: Pipeline, facts: PipelineFacts): void {
    this.keeper.facts = facts;
    this.runner.setPipeline(pipeline);
    this.#choosePolicy();
    this.runner.pump();
  }

  close(): void {
    this.runner.setPipeline(null);
  }

  #choosePolicy(): void {
    const { pipeline } = this;
    if (pipeline === null) return;
    this.runner.setPolicy(this.keeper.choose(pipeline.stages.length));
    this.#onPolicy(this);
  }
}
