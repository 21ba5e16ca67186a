import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { ERROR_CODES, type ErrorCode, NoodleError } from "../common/index.ts";
import { fromErrorInfo, fromGrpcFailure, toErrorInfo, toGrpcFailure } from "./errors.ts";
import { ErrorInfoSchema } from "./gen/noodle/v1/noodle_pb.ts";

const ALL_CODES = Object.keys(ERROR_CODES) as ErrorCode[];

function overTheWire(error: NoodleError, nodeId?: string): NoodleError {
  return fromErrorInfo(fromBinary(ErrorInfoSchema, toBinary(ErrorInfoSchema, toErrorInfo(error, nodeId))));
}

describe("ErrorInfo", () => {
  it.each(ALL_CODES)("carries %s with its message and details", (code) => {
    const error = new NoodleError(code, "value 3, limit 2", { details: { value: 3, name: "ü", nested: { a: [1] } } });
    const received = overTheWire(error);
    expect(received.toJSON()).toEqual(error.toJSON());
  });

  it("names the node that raised it, the first one if it was passed on", () => {
    const first = overTheWire(new NoodleError("NON_FINITE", "x"), "w1");
    expect(first.details).toEqual({ nodeId: "w1" });
    expect(overTheWire(first, "w2").details).toEqual({ nodeId: "w1" });
  });

  it("turns a code of a later release into INTERNAL and keeps its name in the message", () => {
    const received = fromErrorInfo(create(ErrorInfoSchema, { code: "FROM_THE_FUTURE", message: "m" }));
    expect(received.code).toBe("INTERNAL");
    expect(received.message).toContain("FROM_THE_FUTURE");
  });

  it.each(["", "not json", "[1]", "null", "7"])("reads details %j as none", (detailsJson) => {
    expect(fromErrorInfo(create(ErrorInfoSchema, { code: "USAGE", detailsJson })).details).toEqual({});
  });

  it("survives details that JSON cannot write, and broken text", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    expect(overTheWire(new NoodleError("USAGE", "x", { details: cycle })).code).toBe("USAGE");
    expect(overTheWire(new NoodleError("USAGE", "x", { details: { n: 5n } })).details).toEqual({ n: "5" });
    expect(overTheWire(new NoodleError("USAGE", "lone \ud800 surrogate")).message).toBe("lone \ufffd surrogate");
  });
});

describe("gRPC failures", () => {
  it.each(ALL_CODES)("carry %s", (code) => {
    const failure = toGrpcFailure(new NoodleError(code, "m", { details: { have: 4 } }), "w3");
    expect(failure.status).toBeGreaterThan(0);
    const received = fromGrpcFailure(failure, "host:1");
    expect(received.code).toBe(code);
    expect(received.message).toBe("m");
    expect(received.details).toEqual({ have: 4, nodeId: "w3" });
  });

  it("stay below the limit of a header block and keep the code when the message is endless", () => {
    const failure = toGrpcFailure(
      new NoodleError("ENGINE_FAILED", "€".repeat(100_000), { details: { a: "b".repeat(99_999) } }),
    );
    expect(failure.errorInfo.length).toBeLessThan(10_000);
    expect(failure.text.length).toBeLessThan(3000);
    expect(fromGrpcFailure(failure, "host:1").code).toBe("ENGINE_FAILED");
  });

  it.each<[number, string, ErrorCode]>([
    [1, "Cancelled on client", "INTERRUPTED"],
    [4, "Deadline exceeded", "TIMED_OUT"],
    [8, "Received message larger than max", "FRAME_INVALID"],
    [12, "The server does not implement the method", "PROTOCOL_MISMATCH"],
    [13, "Error deserializing request", "FRAME_INVALID"],
    [13, "Received RST_STREAM with code 2", "PEER_DEAD"],
    [13, "something else", "INTERNAL"],
    [14, "No connection established. Last error: connect ECONNREFUSED", "PEER_UNREACHABLE"],
    [14, "Name resolution failed", "PEER_UNREACHABLE"],
    [14, "Connection dropped", "PEER_DEAD"],
    [14, "read ECONNRESET", "PEER_DEAD"],
    [15, "data loss", "FRAME_CORRUPT"],
    [16, "who are you", "PROTOCOL_MISMATCH"],
    [2, "odd", "INTERNAL"],
    [99, "unheard of", "INTERNAL"],
  ])("without a trailer: status %i, %j becomes %s", (status, text, code) => {
    const error = fromGrpcFailure({ status, text }, "10.0.0.7:7421");
    expect(error.code).toBe(code);
    expect(error.message).toContain("10.0.0.7:7421");
  });

  it("fall back to the status when the trailer is not ours", () => {
    const error = fromGrpcFailure({ status: 4, text: "late", errorInfo: Uint8Array.of(255, 255, 255) }, "p");
    expect(error.code).toBe("TIMED_OUT");
  });
});
