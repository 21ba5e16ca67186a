import { NoodleError } from "../../common/index.ts";
import type { Fault } from "../state/index.ts";
import type { Clock } from "./clock.ts";
import { toError, toFault } from "./convert.ts";
import type { Pipeline } from "./pipeline.ts";
import type { PlanRun } from "./plan-run.ts";
import { refillSession } from "./refill-session.ts";
import type { Session } from "./session.ts";
import { closeSession } from "./session-calls.ts";
import { SessionStall } from "./session-stall.ts";
import { isStageFault } from "./step-faults.ts";

export interface SessionRestorerOptions {
  readonly clock: Clock;
  /** KV sequences. */
  readonly slots: number;
  /** Rows that a stage takes in one step. */
  readonly maxRows: number;
  /** The session is open on the stages of its epoch. `isExact` is false where its bits may differ. */
  readonly onOpened: (session: Session, isExact: boolean) => void;
  /** It stays where it was. */
  readonly onNotMoved: (session: Session, error: NoodleError) => void;
  /** A stage of this epoch does not do what is asked of it. */
  readonly onStageFault: (epoch: number, fault: Fault) => void;
  /** What made the last pipeline unusable; null when nothing did. */
  readonly lastFault: () => Fault | null;
}

/** Steps that are under way end within this time, or the session does not move. */
const SETTLE_MS = 5000;

/** An engine that died so often over a session, with nothing gained between, dies of it. */
const FRUITLESS_DEATHS = 2;

/** Opens running sessions on other stages, and fills these with what the former ones held. */
export class SessionRestorer {
  readonly #options: SessionRestorerOptions;
  readonly #underWay = new Map<Session, Promise<void>>();

  constructor(options: SessionRestorerOptions) {
    this.#options = options;
  }

  /** Resolves when nothing is under way for the session: what is closed then is not opened later. */
  async settle(session: Session): Promise<void> {
    for (let pending = this.#underWay.get(session); pending !== undefined; pending = this.#underWay.get(session)) {
      await pending;
    }
  }

  /** Fills a session into the stages of the run that it belongs to, which hold nothing of it. */
  refill(session: Session, run: PlanRun): void {
    const { pipeline } = run;
    if (pipeline === null || session.isOver) return;
    const fault = this.#options.lastFault();
    if (fault?.code === "ENGINE_ABORTED" && session.fruitless >= FRUITLESS_DEATHS) {
      session.fail(toError(fault));
      return;
    }
    void this.#after(session, () => this.#refill(session, run, pipeline));
  }

  /**
   * Moves a session that runs to the stages of another run, between two of its tokens. Where that can't be, it goes on
   * where it was.
   *
   * @param opened settles when the session is open where it is
   */
  move(session: Session, from: PlanRun, to: PlanRun, opened: Promise<void>): Promise<void> {
    return this.#after(session, async () => {
      await opened.catch(() => undefined);
      const { pipeline: former } = from;
      const { pipeline } = to;
      if (former === null || pipeline === null || session.isOver || session.epoch !== former.epoch) return;
      await this.#move(session, from, former, to, pipeline);
    });
  }

  #after(session: Session, act: () => Promise<void>): Promise<void> {
    const before = this.#underWay.get(session) ?? Promise.resolve();
    const now = before.then(act).finally(() => {
      if (this.#underWay.get(session) === now) this.#underWay.delete(session);
    });
    this.#underWay.set(session, now);
    return now;
  }

  async #refill(session: Session, run: PlanRun, pipeline: Pipeline): Promise<void> {
    if (session.isOver || run.pipeline !== pipeline || session.isOpenOn(pipeline.epoch)) return;
    try {
      const isExact = await refillSession(session, pipeline, this.#factsOf(run));
      if (run.pipeline !== pipeline) return;
      this.#options.onOpened(session, isExact);
      run.runner.wake(session);
    } catch (thrown) {
      this.#giveUp(session, run, pipeline, NoodleError.from(thrown));
    }
  }

  #giveUp(session: Session, run: PlanRun, pipeline: Pipeline, error: NoodleError): void {
    // The next pipeline takes it.
    if (session.isOver || run.pipeline !== pipeline) return;
    if (isStageFault(error)) this.#options.onStageFault(pipeline.epoch, toFault(error, ""));
    else run.runner.fail(session.id, error);
  }

  async #move(session: Session, from: PlanRun, former: Pipeline, to: PlanRun, pipeline: Pipeline): Promise<void> {
    const startMs = this.#options.clock.nowMs();
    session.pause();
    from.runner.wake(session);
    await from.runner.settle(session, SETTLE_MS);
    // Its stages went meanwhile: they take it that have the sessions of that plan.
    if (session.isOver || from.pipeline !== former) return;
    if (session.stepsInFlight > 0) {
      this.#stay(session, from, new NoodleError("PEER_STALLED", `a step was under way for more than ${SETTLE_MS} ms`));
      return;
    }
    const mark = session.mark;
    const left = { id: session.id, epoch: mark.epoch, fence: mark.fence, answeredRows: 0 };
    session.stall = new SessionStall("move", startMs, session.notedRows);
    from.runner.remove(session);
    to.runner.add(session);
    try {
      const isExact = await refillSession(session, pipeline, this.#factsOf(to));
      void closeSession(left, former, false);
      if (to.pipeline !== pipeline) return;
      this.#options.onOpened(session, isExact);
      to.runner.wake(session);
    } catch (thrown) {
      const error = NoodleError.from(thrown);
      if (session.isOver || from.pipeline !== former) return this.#giveUp(session, to, pipeline, error);
      to.runner.remove(session);
      session.goBack(mark);
      from.runner.add(session);
      this.#stay(session, from, error);
    }
  }

  #stay(session: Session, run: PlanRun, error: NoodleError): void {
    session.stall = null;
    session.run();
    run.runner.wake(session);
    this.#options.onNotMoved(session, error);
  }

  #factsOf({ keeper }: PlanRun): Parameters<typeof refillSession>[2] {
    const { slots, maxRows } = this.#options;
    return { classes: keeper.facts.classes, slots, maxRows };
  }
}
