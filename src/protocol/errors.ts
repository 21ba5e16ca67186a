import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ERROR_CODES, type ErrorCode, type ErrorCodeRow, NoodleError } from "../common/index.ts";
import { type ErrorInfo, ErrorInfoSchema } from "./gen/noodle/v1/noodle_pb.ts";

/** Trailer of a failed call that carries the binary ErrorInfo. */
export const ERROR_TRAILER = "noodle-error-bin";

/** Numbers of gRPC's statuses. @see https://grpc.io/docs/guides/status-codes */
const GRPC_STATUS = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const satisfies Record<ErrorCodeRow["grpc"], number> & Record<string, number>;

/** Trailers share one header block with a limit of 64 KiB at most peers; base64 adds a third. */
const MAX_INFO_BYTES = 8 * 1024;
const MAX_MESSAGE_CHARS = 2048;

/** A failed call as gRPC sees it. */
export interface GrpcFailure {
  readonly status: number;
  /** gRPC's own message. */
  readonly text: string;
  /** Content of the trailer, when the peer is one of ours. */
  readonly errorInfo?: Uint8Array | undefined;
}

/** @param nodeId the node that raised it; "" when unknown */
export function toErrorInfo(error: NoodleError, nodeId = ""): ErrorInfo {
  const { nodeId: raisedBy, ...details } = error.details;
  return create(ErrorInfoSchema, {
    code: error.code,
    message: makeWellFormed(error.message),
    detailsJson: writeJson(details),
    nodeId: typeof raisedBy === "string" ? raisedBy : nodeId,
  });
}

/** The node that raised it comes back as `details.nodeId`. A code that this release does not know becomes INTERNAL. */
export function fromErrorInfo(info: ErrorInfo): NoodleError {
  const details = readJson(info.detailsJson);
  if (info.nodeId !== "") details["nodeId"] = info.nodeId;
  if (Object.hasOwn(ERROR_CODES, info.code)) {
    return new NoodleError(info.code as ErrorCode, info.message, { details });
  }
  return new NoodleError("INTERNAL", `${info.code}: ${info.message}`, { details });
}

/** What a server answers a failed call with; long messages are cut, the code always arrives. */
export function toGrpcFailure(error: NoodleError, nodeId = ""): GrpcFailure & { readonly errorInfo: Uint8Array } {
  let info = toErrorInfo(error, nodeId);
  let errorInfo = toBinary(ErrorInfoSchema, info);
  if (errorInfo.length > MAX_INFO_BYTES) {
    info = create(ErrorInfoSchema, { ...info, message: cut(info.message), detailsJson: "" });
    errorInfo = toBinary(ErrorInfoSchema, info);
  }
  return { status: GRPC_STATUS[error.row.grpc], text: `${error.code}: ${cut(info.message)}`, errorInfo };
}

/**
 * Makes a typed error of a failed call.
 *
 * @param peer  how the error names the other side, usually host:port
 */
export function fromGrpcFailure(failure: GrpcFailure, peer: string): NoodleError {
  if (failure.errorInfo !== undefined) {
    try {
      return fromErrorInfo(fromBinary(ErrorInfoSchema, failure.errorInfo));
    } catch {
      // Not written by a peer of ours: the status alone has to do.
    }
  }
  return new NoodleError(codeOf(failure), `${peer}: ${failure.text}`, {
    details: { peer, grpcStatus: failure.status },
  });
}

/** For failures that gRPC itself raised, on either side. */
function codeOf({ status, text }: GrpcFailure): ErrorCode {
  switch (status) {
    case GRPC_STATUS.CANCELLED:
      return "INTERRUPTED";
    case GRPC_STATUS.DEADLINE_EXCEEDED:
      return "TIMED_OUT";
    case GRPC_STATUS.UNAVAILABLE:
      return /no connection established|name resolution/i.test(text) ? "PEER_UNREACHABLE" : "PEER_DEAD";
    case GRPC_STATUS.UNIMPLEMENTED:
    case GRPC_STATUS.UNAUTHENTICATED:
    case GRPC_STATUS.PERMISSION_DENIED:
      return "PROTOCOL_MISMATCH";
    // A message above the cap, or more streams than the peer takes.
    case GRPC_STATUS.RESOURCE_EXHAUSTED:
      return "FRAME_INVALID";
    case GRPC_STATUS.DATA_LOSS:
      return "FRAME_CORRUPT";
    case GRPC_STATUS.INTERNAL:
      if (/deserializ|parsing error|decompress/i.test(text)) return "FRAME_INVALID";
      return /RST_STREAM|write error/i.test(text) ? "PEER_DEAD" : "INTERNAL";
    default:
      return "INTERNAL";
  }
}

function writeJson(details: Readonly<Record<string, unknown>>): string {
  if (Object.keys(details).length === 0) return "";
  try {
    return makeWellFormed(
      JSON.stringify(details, (_key, value: unknown) => (typeof value === "bigint" ? String(value) : value)),
    );
  } catch {
    // A cycle: details are a courtesy, never a reason to lose the error.
    return "";
  }
}

function readJson(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  } catch {
    return {};
  }
}

function cut(text: string): string {
  return text.length <= MAX_MESSAGE_CHARS ? text : `${makeWellFormed(text.slice(0, MAX_MESSAGE_CHARS))}...`;
}

/** Lone surrogates become U+FFFD: neither protobuf strings nor gRPC's percent-encoding can carry them. */
function makeWellFormed(text: string): string {
  return Buffer.from(text, "utf8").toString("utf8");
}
