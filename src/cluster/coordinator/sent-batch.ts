import type { FrameRun } from "../../protocol/index.ts";
import type { ScheduledRun } from "../../schedule/index.ts";
import type { Session } from "./session.ts";
import type { StepFacts } from "./step-recorder.ts";

/** A micro-batch under way. */
export interface SentBatch {
  readonly phase: "prefill" | "decode";
  readonly rows: number;
  readonly slots: readonly number[];
  readonly members: readonly { readonly session: Session; readonly run: ScheduledRun }[];
  readonly pads: readonly number[];
}

/** The batch's runs as its frame names them. */
export function writeRuns({ members }: SentBatch): FrameRun[] {
  return members.map(({ session, run }) => {
    const { position, rows, output } = run;
    const { id, fence, slot } = session;
    return { sessionId: id, fence, branch: 0, position, rows, slot, output, ...session.describeOutput(run) };
  });
}

/** @returns i32[rows], the tokens of all runs in order */
export function readTokens({ members, rows }: SentBatch): Int32Array {
  const tokens = new Int32Array(rows);
  let row = 0;
  for (const { session, run } of members) {
    tokens.set(session.tokens.slice(run.position, run.position + run.rows), row);
    row += run.rows;
  }
  return tokens;
}

/** What the records say of the batch's step. */
export function describeStep({ members, phase, rows }: SentBatch): StepFacts {
  return {
    requestIds: members.map(({ session }) => session.id),
    phase,
    rows,
    contextTokens: members.reduce((most, { run }) => Math.max(most, run.position + run.rows), 0),
    asked: members.find(({ session }) => session.request.observe !== undefined)?.session.request.observe ?? null,
  };
}

/**
 * One of the batch's runs by itself, in the company that it had.
 *
 * @param member of the batch
 */
export function isolateRun({ phase, slots, pads }: SentBatch, member: SentBatch["members"][number]): SentBatch {
  const { slot } = member.session;
  const others = slots.filter((other) => other !== slot);
  return { phase, rows: member.run.rows, slots: [slot], members: [member], pads: [...pads, ...others] };
}
