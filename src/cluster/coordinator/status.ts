import { type ClusterState, type Fault, formatUnits, judgeHealth, type NodeState } from "../state/index.ts";
import type { ClockOffset } from "./clock-estimate.ts";
import type { StatusServing } from "./serving-status.ts";
import type { Session } from "./session.ts";
import { describeStatusPlan, type StatusPlan } from "./status-plan.ts";

/** `noodle.status.v1`. Names as in the JSON, units in the names. */
export interface StatusDocument {
  readonly schema: "noodle.status.v1";
  readonly coordinator: {
    readonly address: string;
    readonly pid: number;
    readonly rss_bytes: number;
    /** Part of this machine's CPU time that the process took in the last seconds, 0 to 1; null in the first moments. */
    readonly cpu_ratio: number | null;
    /** Of this start of the coordinator. */
    readonly coordinator_epoch: number;
    /** Of the current plan; null before the first. */
    readonly epoch: number | null;
    readonly protocol_version: number;
    readonly uptime_ms: number;
    readonly model: { readonly path: string; readonly units: number; readonly bytes: number };
    readonly context_tokens: number;
    readonly parallel: number;
    /** Threads of every stage; 0 = each worker's choice, which its capabilities tell. */
    readonly threads: number;
    readonly observing: {
      /** Whether anybody is told of steps and requests. */
      readonly observed: boolean;
      /** Whether the workers' engines can look into their steps. */
      readonly hooks: boolean;
      /** Every so many steps are looked into; 0 = none. */
      readonly sample_every: number;
      readonly sample_level: string;
      /** Insides of steps that came from the workers, since the start. */
      readonly observations: number;
      /** Those that fitted no step, or made no sense. */
      readonly observations_refused: number;
      /** Those that the workers threw away rather than delay a step. */
      readonly observations_dropped: number;
      /** Calls of observers that threw. */
      readonly observer_failures: number;
    };
  };
  readonly health: {
    readonly status: "ready" | "waiting" | "failed";
    readonly reason: string | null;
    readonly error: StatusError | null;
  };
  /** Null before the first plan. */
  readonly plan: StatusPlan | null;
  readonly nodes: readonly StatusNode[];
  readonly stages: readonly StatusStage[];
  readonly sessions: readonly StatusSession[];
  readonly serving: StatusServing;
  /** What the coordinator's observer makes of its records; absent where there is none. */
  readonly live?: object;
}

export interface StatusError {
  readonly code: string;
  readonly message: string;
  readonly node: string;
}

export interface StatusNode {
  readonly id: string;
  readonly name: string;
  readonly address: string;
  readonly pid: number;
  readonly state: string;
  /** `A:B`, or null without a stage. */
  readonly units: string | null;
  readonly weights_bytes: number;
  readonly weights_bytes_received: number;
  readonly rss_bytes: number;
  /** Round trip to it without the time inside it; null while unknown, as the two below. */
  readonly rtt_ms: number | null;
  /** Its monotonic clock minus the coordinator's. */
  readonly clock_offset_ms: number | null;
  /** How far that may be off. */
  readonly clock_uncertainty_ms: number | null;
  readonly error: StatusError | null;
  readonly capabilities: Readonly<Record<string, unknown>>;
}

export interface StatusStage {
  readonly index: number;
  readonly units: string;
  /** Id of the holder; null while the stage has none. */
  readonly node: string | null;
  readonly state: string;
  readonly bytes_done: number;
  readonly bytes_total: number;
  readonly weights_bytes: number;
  readonly kv_bytes: number;
  readonly compute_bytes: number;
  readonly canary_sha256: string | null;
  readonly host_pid: number | null;
  /** Part of the last seconds in which the holder's engine thread computed, 0 to 1; null while unknown. */
  readonly engine_busy_ratio: number | null;
}

export interface StatusSession {
  readonly id: string;
  readonly slot: number;
  readonly epoch: number;
  readonly prompt_tokens: number;
  readonly generated_tokens: number;
  /** Prompt tokens whose keys and values were there already. */
  readonly cached_tokens: number;
}

export interface StatusFacts extends Omit<StatusDocument["coordinator"], "epoch"> {
  /** False while the streams of the current plan are not open. */
  readonly pipelineOpen: boolean;
  /** What is known of the way to a node and of its clock. */
  readonly findLink: (nodeId: string) => ClockOffset | null;
  /** How busy a node's engine is; null while unknown. */
  readonly findEngineShare: (nodeId: string) => number | null;
  readonly live: object | null;
  readonly serving: StatusServing;
}

/** The cluster as a document. Pure. */
export function describeStatus(state: ClusterState, sessions: Iterable<Session>, facts: StatusFacts): StatusDocument {
  const { pipelineOpen, findLink, findEngineShare, live, serving, ...coordinator } = facts;
  return {
    schema: "noodle.status.v1",
    coordinator: { ...coordinator, epoch: state.plan?.epoch ?? null },
    health: describeHealth(state, pipelineOpen),
    plan: describeStatusPlan(state),
    nodes: [...state.nodes.values()]
      .sort((a, b) => a.joinOrder - b.joinOrder)
      .map((node) => describeNode(state, node, findLink(node.id))),
    stages: (state.plan?.stages ?? []).map(({ units, nodeId }, index) => {
      const node = nodeId === null ? undefined : state.nodes.get(nodeId);
      const stage = node?.stage ?? null;
      return {
        index,
        units: formatUnits(units),
        node: nodeId,
        state: nodeId === null ? "vacant" : (stage?.phase ?? "assigned"),
        bytes_done: stage?.bytesDone ?? 0,
        bytes_total: stage?.bytesTotal ?? 0,
        weights_bytes: stage?.weightsBytes ?? 0,
        kv_bytes: stage?.kvBytes ?? 0,
        compute_bytes: stage?.computeBytes ?? 0,
        canary_sha256: stage === null || stage.canarySha256 === "" ? null : stage.canarySha256,
        host_pid: stage === null || stage.hostPid === 0 ? null : stage.hostPid,
        engine_busy_ratio: nodeId === null ? null : findEngineShare(nodeId),
      };
    }),
    sessions: [...sessions].map((session) => ({
      id: session.id,
      slot: session.slot,
      epoch: session.epoch,
      prompt_tokens: session.promptTokens,
      generated_tokens: session.generatedTokens,
      cached_tokens: session.cachedTokens,
    })),
    serving,
    ...(live === null ? {} : { live }),
  };
}

function describeHealth(state: ClusterState, pipelineOpen: boolean): StatusDocument["health"] {
  const health = judgeHealth(state);
  if (health.status !== "ready") {
    return { status: health.status, reason: health.reason, error: describeFault(health.fault) };
  }
  if (!pipelineOpen) return { status: "waiting", reason: "the stages are being connected", error: null };
  return { status: "ready", reason: null, error: null };
}

function describeFault(fault: Fault | null): StatusError | null {
  return fault === null ? null : { code: fault.code, message: fault.message, node: fault.nodeId };
}

function describeNode(state: ClusterState, node: NodeState, link: ClockOffset | null): StatusNode {
  const held = state.plan?.stages.find((stage) => stage.nodeId === node.id);
  const { capabilities } = node;
  return {
    id: node.id,
    name: node.name,
    address: node.address,
    pid: node.pid,
    state: node.phase,
    units: held === undefined ? null : formatUnits(held.units),
    weights_bytes: held === undefined ? 0 : (node.stage?.weightsBytes ?? 0),
    weights_bytes_received: node.stage?.weightsBytesReceived ?? 0,
    rss_bytes: node.rssBytes,
    rtt_ms: link === null ? null : link.rttNs / 1e6,
    clock_offset_ms: link === null ? null : link.offsetNs / 1e6,
    clock_uncertainty_ms: link === null ? null : link.uncertaintyNs / 1e6,
    error: describeFault(node.fault),
    capabilities: {
      protocol_version: capabilities.protocolVersion,
      noodlecore_version: capabilities.noodlecoreVersion,
      engine_build: capabilities.engineBuild,
      cpu_variant: capabilities.cpuVariant,
      cpu_model: capabilities.cpuModel,
      cpu_features: capabilities.cpuFeatures,
      cores: capabilities.cores,
      threads: capabilities.threads,
      memory_total_bytes: capabilities.memoryTotalBytes,
      memory_free_bytes: capabilities.memoryFreeBytes,
      memory_limit_bytes: capabilities.memoryLimitBytes,
      disk_free_bytes: capabilities.diskFreeBytes,
      data_directory: capabilities.dataDirectory,
      platform: capabilities.platform,
      devices: capabilities.devices.map((device) => ({
        name: device.name,
        kind: device.kind,
        memory_total_bytes: device.memoryTotalBytes,
        memory_free_bytes: device.memoryFreeBytes,
      })),
      row_classes: parseJson(node.stage?.rowClassesJson ?? ""),
    },
  };
}

function parseJson(text: string): unknown {
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}
