/**
 * Which steps leave next. Pure, so that another policy (batches of several sessions) can replace it and be tested
 * without a cluster.
 */

/** A session as the scheduler sees it. */
export interface WaitingSession {
  readonly id: string;
  /** Absolute position of the first row that has not been sent. */
  readonly position: number;
  /** Rows whose tokens are known and not sent: what is left of the prompt, or the last sampled token. */
  readonly waitingRows: number;
  /** Largest number of rows of one step of this session. */
  readonly maxRows: number;
}

export interface ScheduleState {
  /** In order of arrival. */
  readonly sessions: readonly WaitingSession[];
  /** Steps that the first stage still takes. */
  readonly credits: number;
  /** Session that was served last; the turn is with the one behind it. */
  readonly lastServed: string | null;
}

export interface Step {
  readonly sessionId: string;
  readonly position: number;
  readonly rows: number;
  /** `last` for the step that ends with the last known token: its row's logits choose the next one. */
  readonly output: "none" | "last";
}

/**
 * Steps to send now, in order: one for each session in turn, round after round, until credits or rows run out. All
 * chunks of one prompt may so be in flight one behind another, and stages overlap; a long prompt delays another
 * session's token by one chunk, not by all.
 */
export function nextSteps(state: ScheduleState): readonly Step[] {
  const served = state.sessions.findIndex((session) => session.id === state.lastServed);
  const order = [...state.sessions.slice(served + 1), ...state.sessions.slice(0, served + 1)];
  const sentRows = new Map<string, number>();
  const steps: Step[] = [];
  for (let progress = true; progress; ) {
    progress = false;
    for (const session of order) {
      if (steps.length >= state.credits) return steps;
      const sent = sentRows.get(session.id) ?? 0;
      const left = session.waitingRows - sent;
      if (left <= 0) continue;
      const rows = Math.min(left, session.maxRows);
      steps.push({
        sessionId: session.id,
        position: session.position + sent,
        rows,
        output: rows === left ? "last" : "none",
      });
      sentRows.set(session.id, sent + rows);
      progress = true;
    }
  }
  return steps;
}
