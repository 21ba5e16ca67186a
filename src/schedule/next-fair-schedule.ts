import { must } from "../common/index.ts";
import { agePriority, countPassed, type Passed } from "./ageing.ts";
import { nextSchedule } from "./next-schedule.ts";
import type { Schedule, SchedulePolicy, ScheduleState, WaitingSession } from "./types.ts";

const NOTHING: readonly Passed[] = [];

/**
 * `nextSchedule` with priorities that age, those of prompts and of decode rows each by itself: however many of a larger
 * priority come, each one has a turn in the end. Pure.
 */
export function nextFairSchedule(state: ScheduleState, policy: SchedulePolicy): Schedule {
  const { sessions, turn } = state;
  const { passedPrompts = NOTHING, passedDecodes = NOTHING } = turn ?? {};
  const isAged = passedPrompts.length > 0 || passedDecodes.length > 0;
  if (!isAged && isEven(sessions)) return nextSchedule(state, policy);
  const aged = sessions.map((session) => {
    const priority = agePriority(session.priority, isReading(session) ? passedPrompts : passedDecodes);
    return priority === session.priority ? session : { ...session, priority };
  });
  const schedule = nextSchedule({ ...state, sessions: aged }, policy);
  const served = { prefill: [] as number[], decode: [] as number[] };
  const priorityOf = new Map(sessions.map(({ id, priority }) => [id, priority]));
  for (const { phase, runs } of schedule.batches) {
    // Whoever shares a micro-batch has had a turn with it.
    const levels = new Set(runs.map(({ sessionId }) => must(priorityOf.get(sessionId), "priority of a run")));
    served[phase].push(...levels);
  }
  const waiting = (fits: (session: WaitingSession) => boolean): number[] =>
    sessions.filter((session) => session.waitingRows > 0 && fits(session)).map(({ priority }) => priority);
  return {
    batches: schedule.batches,
    turn: {
      ...schedule.turn,
      passedPrompts: countPassed(passedPrompts, waiting(isReading), served.prefill),
      passedDecodes: countPassed(
        passedDecodes,
        waiting((session) => !isReading(session)),
        served.decode,
      ),
    },
  };
}

function isEven(sessions: readonly WaitingSession[]): boolean {
  const first = sessions[0]?.priority;
  return sessions.every(({ priority }) => priority === first);
}

function isReading({ position, promptRows }: WaitingSession): boolean {
  return position < promptRows;
}
