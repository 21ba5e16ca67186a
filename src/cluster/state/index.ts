export { apply, createState } from "./apply.ts";
export { formatUnits } from "./check-plan.ts";
export { isNextReady } from "./replan.ts";
export {
  decide,
  judgeHealth,
  judgeRegistration,
  planHolders,
} from "./decide.ts";
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
  StagePhase,
  StageStatus,
} from "./types.ts";
