import { ERROR_CODES, type ErrorCode, NoodleError } from "../../common/index.ts";
import {
  type Capabilities,
  type ErrorInfo,
  type Register,
  type StageReport,
  StageState,
} from "../../protocol/index.ts";
import type { Fault, NodeCapabilities, Registration, StagePhase, StageStatus } from "../state/index.ts";

/** Messages of the wire to the coordinator's own types. 64-bit values are checked once, here. */

export function toNumber(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new NoodleError("FRAME_INVALID", `${what} is ${value}, the limit is ${Number.MAX_SAFE_INTEGER}`);
  }
  return Number(value);
}

/** Lengths of text that a peer may put into the state: longer text is cut, it is for people to read. */
const MAX_TEXT_CHARS = 1024;
const MAX_MESSAGE_CHARS = 8192;
const MAX_ITEMS = 256;
const MAX_ROW_CLASSES_CHARS = 65_536;

const cut = (text: string, limit = MAX_TEXT_CHARS): string => text.slice(0, limit);

function readCapabilities(from: Capabilities): NodeCapabilities {
  return {
    protocolVersion: from.protocolVersion,
    noodlecoreVersion: cut(from.noodlecoreVersion),
    engineBuild: cut(from.engineBuild),
    cpuVariant: cut(from.cpuVariant),
    cpuModel: cut(from.cpuModel),
    cpuFeatures: from.cpuFeatures.slice(0, MAX_ITEMS).map((feature) => cut(feature)),
    cores: from.cores,
    threads: from.threads,
    memoryTotalBytes: toNumber(from.memoryTotalBytes, "memory_total_bytes"),
    memoryFreeBytes: toNumber(from.memoryFreeBytes, "memory_free_bytes"),
    memoryLimitBytes: toNumber(from.memoryLimitBytes, "memory_limit_bytes"),
    diskFreeBytes: toNumber(from.diskFreeBytes, "disk_free_bytes"),
    dataDirectory: cut(from.dataDirectory, MAX_MESSAGE_CHARS),
    platform: cut(from.platform),
    devices: from.devices.slice(0, MAX_ITEMS).map((device) => ({
      name: cut(device.name),
      kind: cut(device.kind),
      memoryTotalBytes: toNumber(device.memoryTotalBytes, "memory_total_bytes"),
      memoryFreeBytes: toNumber(device.memoryFreeBytes, "memory_free_bytes"),
    })),
  };
}

/** @throws FRAME_INVALID when something that the cluster cannot do without is missing */
export function readRegistration(from: Register): Registration {
  const { capabilities } = from;
  if (capabilities === undefined) throw new NoodleError("FRAME_INVALID", "a registration without capabilities");
  if (!/^[\w.-]{1,64}$/.test(capabilities.nodeId)) {
    throw new NoodleError(
      "FRAME_INVALID",
      `"${cut(capabilities.nodeId, 64)}" is not a node id (1 to 64 of A-Z a-z 0-9 _ . -)`,
    );
  }
  if (!/^.{1,255}:\d{1,5}$/.test(from.stageAddress)) {
    throw new NoodleError("FRAME_INVALID", `"${cut(from.stageAddress, 64)}" is not an address (host:port)`);
  }
  return {
    nodeId: capabilities.nodeId,
    name: capabilities.name === "" ? capabilities.nodeId : cut(capabilities.name, 128),
    address: from.stageAddress,
    pid: from.supervisorPid,
    incarnation: Buffer.from(from.incarnation.subarray(0, 64)).toString("hex"),
    capabilities: readCapabilities(capabilities),
  };
}

const STAGE_PHASES: Readonly<Record<StageState, StagePhase | null>> = {
  [StageState.UNSPECIFIED]: null,
  [StageState.FETCHING]: "fetching",
  [StageState.LOADING]: "loading",
  [StageState.READY]: "ready",
  [StageState.FAILED]: "failed",
  [StageState.RESTARTING]: "restarting",
};

/** @throws FRAME_INVALID for a state that this release does not know */
export function readStageReport(from: StageReport, nodeId: string): StageStatus {
  const phase = STAGE_PHASES[from.state] ?? null;
  if (phase === null) throw new NoodleError("FRAME_INVALID", `stage state ${from.state} is not known`);
  return {
    epoch: toNumber(from.epoch, "epoch"),
    phase,
    bytesDone: toNumber(from.bytesDone, "bytes_done"),
    bytesTotal: toNumber(from.bytesTotal, "bytes_total"),
    weightsBytes: toNumber(from.weightsBytes, "weights_bytes"),
    weightsBytesReceived: toNumber(from.weightsBytesReceived, "weights_bytes_received"),
    kvBytes: toNumber(from.kvBytes, "kv_bytes"),
    computeBytes: toNumber(from.computeBytes, "compute_bytes"),
    canarySha256: cut(from.canarySha256, 64),
    hostPid: from.hostPid,
    rowClassesJson: from.rowClassesJson.length > MAX_ROW_CLASSES_CHARS ? "" : from.rowClassesJson,
    error: from.error === undefined ? null : readFault(from.error, nodeId),
  };
}

function readFault(from: ErrorInfo, nodeId: string): Fault {
  const code: ErrorCode = Object.hasOwn(ERROR_CODES, from.code) ? (from.code as ErrorCode) : "INTERNAL";
  return {
    code,
    message: cut(from.message, MAX_MESSAGE_CHARS),
    nodeId: from.nodeId === "" ? nodeId : cut(from.nodeId, 64),
  };
}

/** The error that a fault stands for; it names the node in `details.nodeId`. */
export function toError(fault: Fault): NoodleError {
  return new NoodleError(fault.code, fault.message, { details: { nodeId: fault.nodeId } });
}

/** @param nodeId where it comes from when the error does not say */
export function toFault(error: NoodleError, nodeId: string): Fault {
  const raisedBy = error.details["nodeId"];
  const named = typeof raisedBy === "string" && raisedBy !== "" ? raisedBy : nodeId;
  return { code: error.code, message: error.message, nodeId: named };
}
