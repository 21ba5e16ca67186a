export type {
  Cluster,
  ClusterLinks,
  ClusterNode,
  CostScale,
  Failure,
  Hardware,
  Link,
  LinkPair,
  NodeCosts,
  Slowdown,
} from "./cluster-types.ts";
export { clusterSchema } from "./cluster-schema.ts";
export { findLink } from "./links.ts";
export { describePlacementModel } from "./model.ts";
export { planModel } from "./plan-model.ts";
export type {
  ModelPlan,
  ModelPlanPolicy,
  ModelPlanStage,
  PlacementModel,
  PlacementNode,
  PlacementObjective,
  PlanModelInput,
  PlanModelOptions,
  PlanWorkload,
} from "./plan-types.ts";
export { readCluster } from "./read-cluster.ts";
export { type ClusterProfiles, listProfilePaths, type ResolvedNodes, resolveNodes } from "./resolve-nodes.ts";
export { modelPlanSchema } from "./plan-schema.ts";
export { renderPlanPage } from "./page.ts";
export { MAX_PLAN_BYTES, readModelPlan } from "./read-plan.ts";
export { describeModelPlan } from "./words.ts";
export { type PlacesValue, valuePlaces } from "./value-places.ts";
