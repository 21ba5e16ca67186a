import { Metadata, type ServiceError, type StatusObject } from "@grpc/grpc-js";
import { NoodleError } from "../common/index.ts";
import { ERROR_TRAILER, fromGrpcFailure, toGrpcFailure } from "../protocol/index.ts";

/** What a server hands to the library to end a call with this error. */
export function toStatus(thrown: unknown, nodeId: string): StatusObject {
  const failure = toGrpcFailure(NoodleError.from(thrown), nodeId);
  const metadata = new Metadata();
  metadata.set(ERROR_TRAILER, Buffer.from(failure.errorInfo));
  return { code: failure.status, details: failure.text, metadata };
}

/** Turns what the library raised on the client's side into a typed error. */
export function fromServiceError(error: Error | ServiceError, peer: string): NoodleError {
  if (!("code" in error) || typeof error.code !== "number") return NoodleError.from(error);
  const trailer = error.metadata?.get(ERROR_TRAILER)[0];
  return fromGrpcFailure(
    { status: error.code, text: error.details, errorInfo: typeof trailer === "string" ? undefined : trailer },
    peer,
  );
}
