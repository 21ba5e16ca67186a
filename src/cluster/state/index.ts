export { apply, createState, formatUnits } from "./apply.ts";
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
  Registration,
  StagePhase,
  StageStatus,
} from "./types.ts";
