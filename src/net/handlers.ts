import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import type {
  sendUnaryData,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  UntypedHandleCall,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { must, NoodleError } from "../common/index.ts";
import type { PeerIdentity } from "../security/index.ts";
import { GrpcBidiStream } from "./bidi-stream.ts";
import { MessageWriter } from "./message-writer.ts";
import { type AuthenticatedCall, readPeer } from "./peer.ts";
import { encodeMessage, type Init, type Shape } from "./service.ts";
import { toStatus } from "./status.ts";
import type { BidiStream } from "./stream.ts";

export interface CallContext {
  /** Address of the caller. */
  readonly peer: string;
  /** Whose certificate the caller has shown; null where the server asks for none, or it has none. */
  readonly identity: PeerIdentity | null;
  /**
   * Aborted, with a NoodleError as its reason, when the caller has gone or its deadline has passed. A handler that
   * goes on computes for nobody.
   */
  readonly signal: AbortSignal;
}

type Handler<M extends DescMethod> = M["methodKind"] extends "unary"
  ? (request: Shape<M["input"]>, context: CallContext) => Init<M["output"]> | Promise<Init<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: Shape<M["input"]>, context: CallContext) => AsyncIterable<Init<M["output"]>>
    : M["methodKind"] extends "bidi_streaming"
      ? (stream: BidiStream<Init<M["output"]>, Shape<M["input"]>>, context: CallContext) => void | Promise<void>
      : never;

/**
 * One function for each method. What it throws reaches the client with its code.
 *
 * - unary: returns the response
 * - server streaming: returns the messages; the next is asked for when the client has room
 * - bidirectional: sets the stream up; the call lives until the stream is ended or cancelled, and a throw (or a
 *   rejected promise) cancels it
 */
export type Handlers<S extends DescService> = { readonly [K in keyof S["method"]]: Handler<S["method"][K]> };

export interface HandlerSettings {
  /** Named in the errors that leave this server. */
  readonly nodeId: string;
  readonly highWaterBytes: number;
}

/** A service with its handlers, for `createServer`. */
export interface ServiceBinding {
  readonly service: DescService;
  /** By the method's name, as `Handlers` of the service says. */
  readonly handlers: Readonly<Record<string, unknown>>;
  readonly implement: (settings: HandlerSettings) => UntypedServiceImplementation;
}

export function bindService<S extends DescService>(service: S, handlers: Handlers<S>): ServiceBinding {
  // The mapped type above says which handler belongs to which method; the compiler cannot follow it through a loop.
  const byName = handlers as Readonly<Record<string, unknown>>;
  return {
    service,
    handlers: byName,
    implement: (settings) => {
      const implementation: UntypedServiceImplementation = {};
      for (const method of service.methods) {
        const handler = must(byName[method.localName], `handler of ${method.name}`);
        implementation[method.localName] = adapt(method, handler, settings);
      }
      return implementation;
    },
  };
}

type UnaryHandler = (request: unknown, context: CallContext) => Init<DescMessage> | Promise<Init<DescMessage>>;
type StreamingHandler = (request: unknown, context: CallContext) => AsyncIterable<Init<DescMessage>>;
type BidiHandler = (stream: BidiStream<Init<DescMessage>, unknown>, context: CallContext) => void | Promise<void>;

function adapt(method: DescMethod, handler: unknown, settings: HandlerSettings): UntypedHandleCall {
  const kind = method.methodKind;
  switch (kind) {
    case "unary":
      return adaptUnary(method, handler as UnaryHandler, settings);
    case "server_streaming":
      return adaptServerStreaming(method, handler as StreamingHandler, settings);
    case "bidi_streaming":
      return adaptBidi(method, handler as BidiHandler, settings);
    case "client_streaming":
      throw new NoodleError(
        "ILLEGAL_STATE",
        `${method.name}: client streaming is not supported, use a stream both ways`,
      );
    default:
      return kind satisfies never;
  }
}

function adaptUnary(method: DescMethod, handler: UnaryHandler, { nodeId }: HandlerSettings): UntypedHandleCall {
  const answer = async (call: ServerUnaryCall<unknown, Buffer>, respond: sendUnaryData<Buffer>): Promise<void> => {
    const context = new Context(call);
    try {
      const response = encodeMessage(method.output, await handler(call.request, context));
      context.finish();
      respond(null, response);
    } catch (thrown) {
      context.finish();
      respond(toStatus(thrown, nodeId));
    }
  };
  return (call: ServerUnaryCall<unknown, Buffer>, respond: sendUnaryData<Buffer>) => void answer(call, respond);
}

function adaptServerStreaming(
  method: DescMethod,
  handler: StreamingHandler,
  { nodeId, highWaterBytes }: HandlerSettings,
): UntypedHandleCall {
  const answer = async (call: ServerWritableStream<unknown, Buffer>): Promise<void> => {
    const writer = new MessageWriter(call, highWaterBytes);
    const context = new Context(call, (error) => writer.fail(error));
    try {
      for await (const message of handler(call.request, context)) {
        writer.send(encodeMessage(method.output, message));
        if (!writer.hasRoom) await writer.drained();
      }
      context.finish();
      call.end();
    } catch (thrown) {
      context.finish();
      call.emit("error", toStatus(thrown, nodeId));
    }
  };
  return (call: ServerWritableStream<unknown, Buffer>) => void answer(call);
}

function adaptBidi(
  method: DescMethod,
  handler: BidiHandler,
  { nodeId, highWaterBytes }: HandlerSettings,
): UntypedHandleCall {
  const answer = async (call: ServerDuplexStream<unknown, Buffer>): Promise<void> => {
    const stream = new GrpcBidiStream<DescMessage, unknown>(call, {
      outgoing: method.output,
      peer: call.getPeer(),
      highWaterBytes,
      endsWithReading: false,
      abort: (error) => {
        context.finish();
        call.emit("error", toStatus(error, nodeId));
      },
    });
    // The library says "cancelled" at the end of every call, well or not; this listener comes before the context's.
    call.on("cancelled", () => {
      if (!stream.ended) return;
      context.finish();
      stream.finishWriting();
    });
    const context = new Context(call, (error) => stream.finish(error));
    try {
      await handler(stream, context);
    } catch (thrown) {
      stream.cancel(NoodleError.from(thrown));
    }
  };
  return (call: ServerDuplexStream<unknown, Buffer>) => void answer(call);
}

/** The parts of the library's server calls that tell about the caller. */
interface ServerCall extends AuthenticatedCall {
  getPeer(): string;
  getDeadline(): number | Date;
  on(event: "cancelled", handler: () => void): unknown;
}

class Context implements CallContext {
  readonly peer: string;
  readonly identity: PeerIdentity | null;
  readonly #controller = new AbortController();
  #finished = false;

  /** @param onGone called when the caller goes before `finish` */
  constructor(call: ServerCall, onGone?: (error: NoodleError) => void) {
    this.peer = call.getPeer();
    this.identity = readPeer(call);
    call.on("cancelled", () => {
      if (this.#finished) return;
      const late = Number(call.getDeadline()) <= Date.now();
      const error = late
        ? new NoodleError("TIMED_OUT", `the deadline of ${this.peer} has passed`, { details: { peer: this.peer } })
        : new NoodleError("PEER_DEAD", `${this.peer} has gone`, { details: { peer: this.peer } });
      onGone?.(error);
      this.#controller.abort(error);
    });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The handler has answered: what follows is no loss. */
  finish(): void {
    this.#finished = true;
  }
}
