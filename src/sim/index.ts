export { ChromeRecorder, type ChromeTraceEvent } from "./chrome-recorder.ts";
export { CostTable } from "./cost-table.ts";
export type { Distribution } from "./distribution.ts";
export { type SimulationDocument, simulationSchema } from "./document.ts";
export { makeSimCluster, type PlannedCluster } from "./from-plan.ts";
export { type GeneratedWorkload, generateWorkload, type TokenCount } from "./generate-workload.ts";
export type { ServiceSlice, SimObserver, TransferSlice } from "./observer.ts";
export { type MalformedLine, WORKLOAD_LIMITS, WorkloadReader } from "./read-workload.ts";
export { type SharedCores, type SharedSimulation, simulateSharing } from "./share-cores.ts";
export { simulate } from "./simulate.ts";
export type { SimulationOptions } from "./simulation.ts";
export {
  COORDINATOR,
  type Incident,
  type LinkChange,
  type Loss,
  type SimCluster,
  type SimLink,
  type SimNode,
  type SimPipeline,
  type SimRequest,
  type SimStage,
  type Slowdown,
  type StageCost,
  type Workload,
} from "./types.ts";
