export { agePriority, countPassed, type Passed } from "./ageing.ts";
export { arrangeRefill } from "./arrange-refill.ts";
export { arrangeReplay, type ReplayStep } from "./arrange-replay.ts";
export { choosePolicy, type PolicyFacts } from "./choose-policy.ts";
export { chooseSlot } from "./choose-slot.ts";
export { type CallPlace, ClassNotesBuilder, cutNotes, placeRuns } from "./class-notes.ts";
export { countRecordedReuse, countStrictReuse } from "./count-reuse.ts";
export { groupRuns, type RunGroup, type SlotRows } from "./group-runs.ts";
export { nextFairSchedule } from "./next-fair-schedule.ts";
export { countCommon, type FoundPrefix, type KeptPrefix, PrefixCache } from "./prefix-cache.ts";
export {
  type AttentionRule,
  classKey,
  type ClassTable,
  fitRowRule,
  type RowCircumstance,
  type RowClasses,
  type RowRule,
} from "./row-classes.ts";
export { CostMeter, type RowCost, type StepCosts } from "./step-costs.ts";
export { chooseNext } from "./turns.ts";
export type {
  ArrangedStep,
  ClassNotes,
  ComputedRun,
  Determinism,
  InFlightBatch,
  Schedule,
  ScheduledBatch,
  ScheduledRun,
  SchedulePolicy,
  ScheduleState,
  ScheduleTurn,
  WaitingSession,
} from "./types.ts";
