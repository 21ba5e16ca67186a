import { create, createFileRegistry, toBinary } from "@bufbuild/protobuf";
import type { GenMessage, GenService } from "@bufbuild/protobuf/codegenv2";
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
  FrameChunkSchema,
  file_noodle_v1_noodle,
  splitIntoChunks,
  StageService,
  type StepAck,
  StepAckSchema,
} from "../src/protocol/index.ts";

/**
 * How frames travel: as requests of a stream that the sender opened, as responses of one that the receiver opened, or
 * through the real ExecuteForward with its own encoder (also requests).
 */
export const DIRECTIONS = ["request", "response", "execute-forward"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** What a receiver reports for each frame: CLOCK_MONOTONIC, one clock for all processes of a machine. */
export type OnAck = (decodedNs: bigint) => void;

/** One end of a hop, as the measuring loop uses it. */
export interface Sender {
  send(frame: Frame): void;
  close(): Promise<void>;
}

type Message<Desc, Shape extends FrameChunk | StepAck> = Desc & GenMessage<Shape>;

/** The same two messages, once with frames as requests and once as responses. */
const HOP = must(
  createFileRegistry(
    create(FileDescriptorProtoSchema, {
      name: "hop.proto",
      package: "noodle.bench",
      syntax: "proto3",
      dependency: ["noodle/v1/noodle.proto"],
      service: [
        {
          name: "Hop",
          method: [
            {
              name: "Push",
              inputType: ".noodle.v1.FrameChunk",
              outputType: ".noodle.v1.StepAck",
              clientStreaming: true,
              serverStreaming: true,
            },
            {
              name: "Pull",
              inputType: ".noodle.v1.StepAck",
              outputType: ".noodle.v1.FrameChunk",
              clientStreaming: true,
              serverStreaming: true,
            },
          ],
        },
      ],
    }),
    () => file_noodle_v1_noodle,
  ).getService("noodle.bench.Hop"),
  "service Hop",
) as unknown as GenService<{
  push: { methodKind: "bidi_streaming"; input: typeof FrameChunkSchema; output: typeof StepAckSchema };
  pull: { methodKind: "bidi_streaming"; input: typeof StepAckSchema; output: typeof FrameChunkSchema };
}>;
