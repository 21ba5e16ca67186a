export { apply, createState } from "./apply.ts";
export { formatUnits } from "./check-plan.ts";
export { isNextReady } from "./replan.ts";
export {
  decide,
  judgeHealth,
  judgeRegistration,
} from "./decide.ts";
export { describeDrain, drainingPlan, planHolders } from "./next-plan.ts";
export { readSampling, writeSampling } from "./sampling.ts";
export type {
  ClusterAction,
  ClusterConfig,
  ClusterEvent,
  ClusterState,
  Fault,
  NodeCapabilities,
  NodeState,
  Plan,
  PlannedStage,
  PlanTerms,
  Registration,
  SessionState,
  StagePhase,
  SpreadRules,
  StageStatus,
} from "./types.ts";
