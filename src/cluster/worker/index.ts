/**
 * A worker: a supervisor process that joins the coordinator and keeps the stage host alive, its child, which serves
 * StageService and computes. In the data directory it keeps
 *
 *   node-id     the node's name over restarts
 *   node.lock   process id of the worker that uses the name
 *   stages/     stage files, see cluster/stage-files
 */
export { WorkerMember, type WorkerMemberOptions } from "./member.ts";
export type { StageReportInit } from "./coordinator-link.ts";
export type { EngineChoice, EngineKind } from "./engine-messages.ts";
export { WorkerSupervisor } from "./supervisor.ts";
export type { WorkerOptions } from "./worker-options.ts";
