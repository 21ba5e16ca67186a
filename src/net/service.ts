import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { MethodDefinition, ServiceDefinition } from "@grpc/grpc-js";
import { NoodleError } from "../common/index.ts";
import { MAX_MESSAGE_BYTES } from "./channel-options.ts";

/** What may be given for a message: the message itself or its fields. */
export type Init<Schema extends DescMessage> = MessageInitShape<Schema>;
export type Shape<Schema extends DescMessage> = MessageShape<Schema>;

/**
 * Messages leave for the library as bytes: encoding here gives a typed error at the call, and the size for
 * back-pressure.
 *
 * @throws FRAME_INVALID when the message is above the cap
 */
export function encodeMessage<Schema extends DescMessage>(schema: Schema, message: Init<Schema>): Buffer {
  const bytes = toBinary(schema, create(schema, message));
  return checkMessageSize(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), schema.typeName);
}

export function checkMessageSize(bytes: Buffer, what: string): Buffer {
  if (bytes.length > MAX_MESSAGE_BYTES) {
    throw new NoodleError("FRAME_INVALID", `${what} of ${bytes.length} bytes, the limit is ${MAX_MESSAGE_BYTES}`);
  }
  return bytes;
}

/** `bytes` fields of the result are views into `bytes`. */
export function decodeMessage<Schema extends DescMessage>(schema: Schema, bytes: Buffer): Shape<Schema> {
  return fromBinary(schema, bytes, { readUnknownFields: false });
}

export function methodPath(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

/** The library's description of a service: requests and responses are bytes going out and messages coming in. */
export function toServiceDefinition(service: DescService): ServiceDefinition {
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  for (const method of service.methods) {
    definition[method.localName] = {
      path: methodPath(method),
      requestStream: method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming",
      responseStream: method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming",
      requestSerialize: passBytes,
      requestDeserialize: (bytes) => decodeMessage(method.input, bytes),
      responseSerialize: passBytes,
      responseDeserialize: (bytes) => decodeMessage(method.output, bytes),
    };
  }
  return definition;
}

/** @throws ILLEGAL_STATE when it was not encoded before */
export function passBytes(value: unknown): Buffer {
  if (!Buffer.isBuffer(value)) throw new NoodleError("ILLEGAL_STATE", "a message went to gRPC without being encoded");
  return value;
}
