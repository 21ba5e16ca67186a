import { arrangeRefill, type RowClasses } from "../../schedule/index.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Session } from "./session.ts";
import { openSession } from "./session-calls.ts";

/** What the stages are like that a session is filled into. */
export interface RefillFacts {
  /** Row classes of every stage; without any, only the very calls of before will do. */
  readonly classes: readonly RowClasses[];
  /** KV sequences. */
  readonly slots: number;
  /** Rows of one step. */
  readonly maxRows: number;
}

/**
 * Opens a session on stages that hold nothing of it, in its own slot, and lets it run: its steps compute every position
 * again in the class that it had, so that keys and values come back bit for bit, and it goes on with the token that comes
 * next. Its reader notices a pause.
 *
 * @throws a stage's refusal, what ended the session meanwhile, USAGE for a class that can't be had on these stages
 */
export async function refillSession(session: Session, pipeline: Pipeline, facts: RefillFacts): Promise<void> {
  const { classes, slots, maxRows } = facts;
  // Where every row is an output, steps stay as short as those of the first time.
  const most = session.readsLogprobs ? 1 : maxRows;
  const steps = arrangeRefill(session.notes, classes, session.slot, slots, most);
  session.reopen({ epoch: pipeline.epoch, stages: pipeline.stages.length }, steps);
  await openSession(session, pipeline, null);
  session.run();
}
