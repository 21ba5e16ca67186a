export { apply, createState, formatUnits } from "./apply.ts";
export {
  decide,
  type Health,
  judgeHealth,
  judgeRegistration,
  lowestFreeSlot,
  planHolders,
  type Refusal,
} from "./decide.ts";
export type {
  ClusterAction,
  ClusterConfig,
  ClusterEvent,
  ClusterState,
  Fault,
  NodeCapabilities,
  NodePhase,
  NodeState,
  Plan,
  PlannedStage,
  Registration,
  SessionState,
  StagePhase,
  StageStatus,
} from "./types.ts";
