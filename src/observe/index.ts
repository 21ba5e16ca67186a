export { classifyGraph, type NodeMeaning } from "./classify.ts";
export { type GraphNode, type GraphSource, type GraphStage } from "./graph.ts";
export { type Hook, type HookEvent, type HookKind, type HookPair, HookRegistry } from "./hooks.ts";
export {
  HOOK_LEVELS,
  type HookLevel,
  OBSERVE_LEVELS,
  type ObserveLevel,
  type Phase,
  readHookLevel,
} from "./levels.ts";
export { joinObservations, type SegmentTiming, type StepObservation } from "./observation.ts";
export { findPointNodes, listHookPoints } from "./points.ts";
export { type PlannedSegment, planSegments } from "./segments.ts";
export type {
  ClusterObserver,
  EventRecord,
  LayerRecord,
  LinkRecord,
  NodeRecord,
  ModelRecord,
  PlanRecord,
  RequestRecord,
  StageStepRecord,
  StepRecord,
} from "./records.ts";
export { readStageTimes, type StageTimes, writeStageTimes } from "./stage-times.ts";
export type { PhaseTotals, WorkerSnapshot, WorkerTotals } from "./worker-snapshot.ts";
export { groupOf, ROLE_GROUPS, type Role, type RoleGroup, ROLES } from "./roles.ts";
