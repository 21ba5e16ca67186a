/** Version of the whole wire protocol: the .proto, the frame layout and their meaning. Peers must agree exactly. */
export const PROTOCOL_VERSION = 2;

/**
 * Largest payload that one gRPC message carries: a frame chunk, a ping, a range of a model file. Longer frames travel
 * in several chunks. Everything on a hop is buffered per message, so this bounds what one message can cost.
 */
export const MESSAGE_CAP_BYTES = 4 * 1024 * 1024;

/** Room beside the payload for the other fields of a message; transports accept cap plus slack. */
export const MESSAGE_SLACK_BYTES = 64 * 1024;

/** Largest frame that is ever assembled: a little less than 2,048 rows of 8,192 values. */
export const FRAME_MAX_BYTES = 64 * 1024 * 1024;

export const DEFAULT_HTTP_PORT = 7420;
export const DEFAULT_GRPC_PORT = 7421;
