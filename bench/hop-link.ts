import { create, createFileRegistry } from "@bufbuild/protobuf";
import type { GenService } from "@bufbuild/protobuf/codegenv2";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { must } from "../src/common/index.ts";
import { type BidiStream, bindService, createClient, createServer, type Handlers } from "../src/net/index.ts";
import {
  decodeFrame,
  encodeFrame,
  encodeFrameMessages,
  type Frame,
  FrameAssembler,
  type FrameChunk,
  type FrameChunkSchema,
  type FrameLimits,
  file_noodle_v1_noodle,
  splitIntoChunks,
  StageService,
  type StepAckSchema,
} from "../src/protocol/index.ts";

/**
 * How frames travel: as requests of a stream that the sender opened, as responses of one that the receiver opened, or
 * by the real ExecuteForward (requests too) with its own encoder.
 */
export const DIRECTIONS = ["request", "response", "execute-forward"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** Gets the moment at which the receiver had decoded the frame: CLOCK_MONOTONIC, one clock for the whole machine. */
export type OnAck = (decodedNs: bigint) => void;

export interface Sender {
  send(frame: Frame): void;
  close(): Promise<void>;
}

export interface Receiver {
  /** Where it listens; null when it opened the stream itself. */
  readonly address: string | null;
  close(): Promise<void>;
}

/** The same two messages with frames as requests (Push) and as responses (Pull). */
const HOP = must(
  createFileRegistry(
    create(FileDescriptorProtoSchema, {
      name: "hop.proto",
      package: "noodle.bench",
      syntax: "proto3",
      dependency: ["noodle/v1/noodle.proto"],
      service: [
        { name: "Hop", method: [bidi("Push", "FrameChunk", "StepAck"), bidi("Pull", "StepAck", "FrameChunk")] },
      ],
    }),
    () => file_noodle_v1_noodle,
  ).getService("noodle.bench.Hop"),
  "service Hop",
) as unknown as GenService<{
  push: { methodKind: "bidi_streaming"; input: typeof FrameChunkSchema; output: typeof StepAckSchema };
  pull: { methodKind: "bidi_streaming"; input: typeof StepAckSchema; output: typeof FrameChunkSchema };
}>;

function bidi(name: string, input: string, output: string) {
  const types = { inputType: `.noodle.v1.${input}`, outputType: `.noodle.v1.${output}` };
  return { name, ...types, clientStreaming: true, serverStreaming: true };
}

const LIMITS: FrameLimits = { epoch: 1, width: "any", maxRows: 4096, maxRuns: 64 };

function ignore(): void {}

/** Sends frames to a receiver that listens at `address`. */
export async function connectSender(
  direction: "request" | "execute-forward",
  address: string,
  windowBytes: number,
  onAck: OnAck,
): Promise<Sender> {
  const options = { flowControlWindowBytes: windowBytes };
  if (direction === "request") {
    const client = createClient(HOP, address, options);
    const stream = await client.rpc.push();
    stream.listen({ onMessage: (ack) => onAck(ack.insideNs), onEnd: ignore, onError: ignore });
    return { send: (frame) => sendChunks(stream, frame), close: async () => client.close() };
  }
  const client = createClient(StageService, address, options);
  const stream = await client.rpc.executeForward();
  stream.listen({
    onMessage: ({ message }) => {
      if (message.case === "ack") onAck(message.value.insideNs);
    },
    onEnd: ignore,
    onError: ignore,
  });
  return {
    send: (frame) => {
      for (const bytes of encodeFrameMessages(frame)) stream.sendEncoded(bytes);
    },
    close: async () => client.close(),
  };
}

/** Sends frames to a receiver that will connect; `send` works from then on. */
export async function listenSender(windowBytes: number, onAck: OnAck): Promise<Sender & { readonly address: string }> {
  let stream: BidiStream<Pick<FrameChunk, "data" | "last">, unknown> | null = null;
  const server = await serve(windowBytes, {
    push: (unused) => unused.cancel(),
    pull: (opened) => {
      stream = opened;
      opened.listen({ onMessage: (ack) => onAck(ack.insideNs), onEnd: ignore, onError: ignore });
      // The receiver knows by this that frames may come.
      opened.send({ data: Uint8Array.of(0), last: true });
    },
  });
  return {
    address: must(server.address, "address"),
    send: (frame) => sendChunks(must(stream, "receiver"), frame),
    close: () => server.close(),
  };
}

/** Receives frames from a sender that will connect. */
export async function listenReceiver(windowBytes: number): Promise<Receiver> {
  return serve(windowBytes, {
    push: (stream) => {
      const assembler = new FrameAssembler();
      stream.listen({
        onMessage: ({ data, last }) => acknowledge(assembler.push(data, last), (ack) => stream.send(ack)),
        onEnd: () => stream.end(),
        onError: ignore,
      });
    },
    pull: (unused) => unused.cancel(),
  });
}

/** Receives frames from a sender that listens at `address`. */
export async function connectReceiver(address: string, windowBytes: number): Promise<Receiver> {
  const client = createClient(HOP, address, { flowControlWindowBytes: windowBytes });
  const stream = await client.rpc.pull();
  const assembler = new FrameAssembler();
  await new Promise<void>((resolve) => {
    let greeted = false;
    stream.listen({
      onMessage: ({ data, last }) => {
        if (greeted) acknowledge(assembler.push(data, last), (ack) => stream.send(ack));
        greeted = true;
        resolve();
      },
      onEnd: ignore,
      onError: ignore,
    });
  });
  return { address: null, close: async () => client.close() };
}

async function serve(windowBytes: number, hop: Handlers<typeof HOP>): Promise<Receiver> {
  const stage = bindService(StageService, {
    ping: () => ({}),
    createSession: () => ({}),
    closeSession: () => ({}),
    reportCapabilities: () => ({}),
    readKv: async function* () {},
    executeForward: (stream) => {
      const assembler = new FrameAssembler();
      stream.listen({
        onMessage: ({ message }) => {
          if (message.case !== "chunk") return;
          const { data, last } = message.value;
          acknowledge(assembler.push(data, last), (ack) => stream.send({ message: { case: "ack", value: ack } }));
        },
        onEnd: () => stream.end(),
        onError: ignore,
      });
    },
  });
  const services = [bindService(HOP, hop), stage];
  const server = createServer({ services, port: 0, flowControlWindowBytes: windowBytes });
  const port = await server.start();
  return { address: `127.0.0.1:${port}`, close: () => server.close(0) };
}

function sendChunks(stream: BidiStream<Pick<FrameChunk, "data" | "last">, unknown>, frame: Frame): void {
  const chunks = splitIntoChunks(encodeFrame(frame));
  for (const [index, data] of chunks.entries()) stream.send({ data, last: index === chunks.length - 1 });
}

type Ack = { readonly $typeName: "noodle.v1.StepAck"; readonly stepId: bigint; readonly insideNs: bigint };

function acknowledge(bytes: Uint8Array | null, send: (ack: Ack) => void): void {
  if (bytes === null) return;
  const frame = decodeFrame(bytes, LIMITS);
  const decodedNs = process.hrtime.bigint();
  send({ $typeName: "noodle.v1.StepAck", stepId: BigInt(frame.stepId), insideNs: decodedNs });
}
