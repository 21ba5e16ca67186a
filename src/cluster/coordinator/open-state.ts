import { CoordinatorState, type EventRow } from "../../store/index.ts";

/** Plan epochs of one term; terms are this far apart. */
const PLAN_EPOCHS_PER_TERM = 1_000_000;
/** Sessions that an event names. */
const MAX_NAMED = 20;

/**
 * Opens the state of a coordinator and takes the next term. What its last stop cut off is told, and stays in the journal
 * for whoever goes on with it.
 *
 * @throws STATE_VERSION, STATE_BUSY, FILE_UNREADABLE, DISK_FULL
 */
export function openState(directory: string, onEvent: (event: EventRow) => void): CoordinatorState {
  const state = CoordinatorState.open({ directory, nowMs: () => Date.now(), onEvent });
  const cut = state.loadOpenSessions();
  if (cut.length === 0) return state;
  const tokens = cut.reduce((sum, session) => sum + session.tokenIds.length, 0);
  const after = tokens === 1 ? "1 token" : `${tokens} tokens`;
  const were = cut.length === 1 ? "1 request was" : `${cut.length} requests were`;
  const sessions = cut.slice(0, MAX_NAMED).map(({ sessionId, client, promptTokenIds, tokenIds }) => ({
    session_id: sessionId,
    client,
    prompt_tokens: promptTokenIds.length,
    generated_tokens: tokenIds.length,
  }));
  state.recordEvent({
    name: "sessions.cut_off",
    severity: "warning",
    nodeId: null,
    message: `${were} cut off by the last stop, after ${after}: ${sessions.map((each) => each.session_id).join(", ")}`,
    details: { count: cut.length, sessions },
  });
  return state;
}

/** Number that the plan epochs of a term lie above. */
export function firstPlanEpoch(term: number): number {
  return term * PLAN_EPOCHS_PER_TERM;
}
