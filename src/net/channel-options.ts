import type { ChannelOptions } from "@grpc/grpc-js";
import { MESSAGE_CAP_BYTES, MESSAGE_SLACK_BYTES } from "../protocol/index.ts";

/**
 * HTTP/2 window that each side offers, for a stream and for the whole connection. HTTP/2's own 64 KiB makes the sender
 * of a prefill frame stop and wait eight times per 512 KiB. `bench/hop.ts` compares sizes.
 */
export const FLOW_CONTROL_WINDOW_BYTES = 1024 * 1024;

/** Largest message either side sends or takes. */
export const MAX_MESSAGE_BYTES = MESSAGE_CAP_BYTES + MESSAGE_SLACK_BYTES;

/** Streams that one connection may hold open; a peer needs a handful. */
const MAX_STREAMS_PER_CONNECTION = 1024;

const SHARED: ChannelOptions = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  // Its bookkeeping costs time on every message, and nobody reads it.
  "grpc.enable_channelz": 0,
};

export function clientOptions(flowControlWindowBytes: number): ChannelOptions {
  return {
    ...SHARED,
    "grpc-node.flow_control_window": flowControlWindowBytes,
    // A step must never be sent twice behind our back; recovery is the coordinator's.
    "grpc.enable_retries": 0,
    // With retries off the library still keeps sent messages and reports them as written at once, up to this much.
    // Zero makes the write callback mean that HTTP/2 took the message, which is what back-pressure needs.
    "grpc.per_rpc_retry_buffer_size": 0,
    // One client, one connection: heartbeats must not queue behind weights.
    "grpc.use_local_subchannel_pool": 1,
    // Neither TXT look-ups nor proxies from the environment have a place between workers.
    "grpc.service_config_disable_resolution": 1,
    "grpc.enable_http_proxy": 0,
  };
}

export function serverOptions(): ChannelOptions {
  return { ...SHARED, "grpc.max_concurrent_streams": MAX_STREAMS_PER_CONNECTION };
}
