import type { DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import { type Client as GrpcClient, Metadata } from "@grpc/grpc-js";
import { NoodleError } from "../common/index.ts";
import { GrpcBidiStream } from "./bidi-stream.ts";
import { FLOW_CONTROL_WINDOW_BYTES } from "./channel-options.ts";
import { Connection } from "./connection.ts";
import { WRITE_HIGH_WATER_BYTES } from "./message-writer.ts";
import { decodeMessage, encodeMessage, type Init, methodPath, passBytes, type Shape } from "./service.ts";
import type { ClientSecurity } from "./security.ts";
import { fromServiceError } from "./status.ts";
import type { BidiStream } from "./stream.ts";

export interface ClientOptions {
  /** For TCP and HTTP/2's first exchange together. @default 2000 */
  readonly connectTimeoutMs?: number;
  /** What the peer may send before it must wait for this side. @default 1 MiB */
  readonly flowControlWindowBytes?: number;
  /** Bytes that a stream holds before its writers wait. @default 4 MiB */
  readonly highWaterBytes?: number;
  /** @default undefined: plaintext, and anybody is believed */
  readonly security?: ClientSecurity | undefined;
}

export interface StreamOptions {
  /** The whole call's time. @default none: streams live as long as their session */
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface UnaryOptions extends StreamOptions {
  readonly timeoutMs: number;
}

type ClientMethod<M extends DescMethod> = M["methodKind"] extends "unary"
  ? (request: Init<M["input"]>, options: UnaryOptions) => Promise<Shape<M["output"]>>
  : M["methodKind"] extends "server_streaming"
    ? (request: Init<M["input"]>, options?: StreamOptions) => AsyncGenerator<Shape<M["output"]>, void, undefined>
    : M["methodKind"] extends "bidi_streaming"
      ? (options?: StreamOptions) => Promise<BidiStream<Init<M["input"]>, Shape<M["output"]>>>
      : never;

/** A service's methods as functions. All of them throw NoodleError, and connect first where it is needed. */
export type Rpc<S extends DescService> = { readonly [K in keyof S["method"]]: ClientMethod<S["method"][K]> };

/** A client has one connection of its own: give bulk data and heartbeats a client each. */
export interface ServiceClient<S extends DescService> {
  readonly address: string;
  readonly rpc: Rpc<S>;
  /** Connects now instead of at the first call. @throws PEER_UNREACHABLE */
  connect(signal?: AbortSignal): Promise<void>;
  /** Ends the connection; calls that are still open fail with INTERRUPTED. Closing twice is safe. */
  close(): void;
}

const DEFAULT_CONNECT_TIMEOUT_MS = 2000;

/**
 * @param address  host:port
 * @throws USAGE when it is not
 */
export function createClient<S extends DescService>(
  service: S,
  address: string,
  options: ClientOptions = {},
): ServiceClient<S> {
  const connection = new Connection(address, {
    connectTimeoutMs: options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS,
    flowControlWindowBytes: options.flowControlWindowBytes ?? FLOW_CONTROL_WINDOW_BYTES,
    security: options.security ?? null,
  });
  const highWaterBytes = options.highWaterBytes ?? WRITE_HIGH_WATER_BYTES;
  const rpc: Record<string, unknown> = {};
  for (const method of service.methods) {
    const call = new MethodCaller(connection, method, highWaterBytes);
    if (method.methodKind === "unary") rpc[method.localName] = call.unary;
    else if (method.methodKind === "server_streaming") rpc[method.localName] = call.serverStream;
    else if (method.methodKind === "bidi_streaming") rpc[method.localName] = call.bidiStream;
  }
  return {
    address,
    // The loop above makes exactly what the type says, which is more than the compiler can follow.
    rpc: rpc as Rpc<S>,
    connect: async (signal) => {
      await connection.connect(undefined, signal);
    },
    close: () => connection.close(),
  };
}

class MethodCaller {
  readonly #connection: Connection;
  readonly #method: DescMethod;
  readonly #path: string;
  readonly #highWaterBytes: number;
  readonly #decode: (bytes: Buffer) => Shape<DescMessage>;

  constructor(connection: Connection, method: DescMethod, highWaterBytes: number) {
    this.#connection = connection;
    this.#method = method;
    this.#path = methodPath(method);
    this.#highWaterBytes = highWaterBytes;
    this.#decode = (bytes) => decodeMessage(method.output, bytes);
  }

  readonly unary = async (request: Init<DescMessage>, options: UnaryOptions): Promise<Shape<DescMessage>> => {
    const deadline = Date.now() + options.timeoutMs;
    const bytes = encodeMessage(this.#method.input, request);
    const client = await this.#connect(options);
    return new Promise((resolve, reject) => {
      const call = client.makeUnaryRequest(
        this.#path,
        passBytes,
        this.#decode,
        bytes,
        new Metadata(),
        { deadline },
        (error, response) => {
          stopListening();
          if (error !== null) reject(this.#toError(error, options.signal));
          else if (response === undefined) reject(new NoodleError("INTERNAL", `${this.#path}: no response`));
          else resolve(response);
        },
      );
      const stopListening = onAbort(options.signal, () => call.cancel());
    });
  };

  readonly serverStream = (
    request: Init<DescMessage>,
    options: StreamOptions = {},
  ): AsyncGenerator<Shape<DescMessage>, void, undefined> => this.#iterate(request, options);

  readonly bidiStream = async (
    options: StreamOptions = {},
  ): Promise<BidiStream<Init<DescMessage>, Shape<DescMessage>>> => {
    const deadline = deadlineOf(options);
    const client = await this.#connect(options);
    const call = client.makeBidiStreamRequest<unknown, Shape<DescMessage>>(
      this.#path,
      passBytes,
      this.#decode,
      new Metadata(),
      deadline,
    );
    const stream = new GrpcBidiStream<DescMessage, Shape<DescMessage>>(call, {
      outgoing: this.#method.input,
      peer: this.#connection.address,
      highWaterBytes: this.#highWaterBytes,
      endsWithReading: true,
      abort: () => call.cancel(),
    });
    // Until the first read the library takes in all that comes; from then on it holds at most 16 messages unread.
    call.read(0);
    const stopListening = onAbort(options.signal, () => stream.cancel());
    call.on("error", (error) => stream.finish(this.#toError(error, options.signal)));
    call.on("status", () => {
      stopListening();
      stream.finishWriting();
    });
    return stream;
  };

  async *#iterate(
    request: Init<DescMessage>,
    options: StreamOptions,
  ): AsyncGenerator<Shape<DescMessage>, void, undefined> {
    const deadline = deadlineOf(options);
    const bytes = encodeMessage(this.#method.input, request);
    const client = await this.#connect(options);
    const call = client.makeServerStreamRequest(this.#path, passBytes, this.#decode, bytes, new Metadata(), deadline);
    const stopListening = onAbort(options.signal, () => call.cancel());
    let over = false;
    try {
      for await (const message of call) yield message as Shape<DescMessage>;
      over = true;
    } catch (thrown) {
      over = true;
      throw thrown instanceof Error ? this.#toError(thrown, options.signal) : thrown;
    } finally {
      stopListening();
      if (!over) {
        // The caller left its loop; the library will say "cancelled", which is no news.
        call.on("error", () => {});
        call.cancel();
      }
    }
  }

  async #connect(options: StreamOptions): Promise<GrpcClient> {
    if (options.signal?.aborted === true) throw interrupted(this.#path);
    return this.#connection.ready ?? (await this.#connection.connect(options.timeoutMs, options.signal));
  }

  #toError(error: Error, signal: AbortSignal | undefined): NoodleError {
    // Also where this side has hung up itself: the peer is not to blame.
    if (signal?.aborted === true || this.#connection.closed) return interrupted(this.#path);
    const failure = fromServiceError(error, this.#connection.address);
    const isLost = failure.code === "PEER_DEAD" || failure.code === "PEER_UNREACHABLE";
    return (isLost ? this.#connection.distrust : null) ?? failure;
  }
}

function interrupted(path: string): NoodleError {
  return new NoodleError("INTERRUPTED", `${path} was interrupted`);
}

function deadlineOf(options: StreamOptions): { deadline?: number } {
  return options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
}

/** @returns a function that takes the listener away again */
function onAbort(signal: AbortSignal | undefined, action: () => void): () => void {
  if (signal === undefined) return () => {};
  signal.addEventListener("abort", action, { once: true });
  if (signal.aborted) action();
  return () => signal.removeEventListener("abort", action);
}
