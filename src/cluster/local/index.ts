export { LocalCluster, type LocalClusterOptions, type StartControl } from "./local-cluster.ts";
export type { WorkerExit, WorkerProcess } from "./worker-process.ts";
