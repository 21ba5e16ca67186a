import { NoodleError } from "../../common/index.ts";
import { arrangeRefill, type ReplayStep, type RowClasses } from "../../schedule/index.ts";
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
 * @returns false where a class can't be had on these stages: then it is read like a prompt, and bits may differ
 * @throws a stage's refusal, what ended the session meanwhile
 */
export async function refillSession(session: Session, pipeline: Pipeline, facts: RefillFacts): Promise<boolean> {
  const steps = arrangeSteps(session, facts);
  session.reopen({ epoch: pipeline.epoch, stages: pipeline.stages.length }, steps ?? []);
  await openSession(session, pipeline, null);
  if (session.epoch === pipeline.epoch) session.run();
  return steps !== null;
}

function arrangeSteps(session: Session, { classes, slots, maxRows }: RefillFacts): readonly ReplayStep[] | null {
  // Where every row is an output, steps stay as short as those of the first time.
  const most = session.readsLogprobs ? 1 : maxRows;
  try {
    return arrangeRefill(session.notes, classes, session.slot, slots, most);
  } catch (error) {
    if (NoodleError.from(error).code === "USAGE") return null;
    throw error;
  }
}
