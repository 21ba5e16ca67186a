export {
  DEFAULT_GRPC_PORT,
  DEFAULT_HTTP_PORT,
  MESSAGE_CAP_BYTES,
  MESSAGE_SLACK_BYTES,
  PROTOCOL_VERSION,
} from "./constants.ts";
export { crc32c } from "./crc32c.ts";
export {
  ERROR_TRAILER,
  fromErrorInfo,
  fromGrpcFailure,
  toErrorInfo,
  toGrpcFailure,
} from "./errors.ts";
export {
  checkFrameShape,
  countOutputRows,
  FRAME_OBSERVE,
  type Frame,
  type FrameExpectation,
  type FrameObserve,
  type FrameRun,
  type FrameTrace,
} from "./frame.ts";
export { FrameAssembler, splitIntoChunks } from "./frame-chunks.ts";
export { decodeFrame, type FrameLimits } from "./frame-decode.ts";
export { encodeFrame } from "./frame-encode.ts";
export { encodeFrameMessages } from "./frame-message.ts";
export * from "./gen/noodle/v1/noodle_pb.ts";
export { readSessionId, type SessionId, writeSessionId } from "./session-id.ts";
