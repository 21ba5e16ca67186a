import type { MessageInitShape } from "@bufbuild/protobuf";
import { bindService, type ServiceBinding } from "../../net/index.ts";
import {
  CoordinatorService,
  type GenerateEventSchema,
  type GenerateRequest as GenerateRequestMessage,
  readSessionId,
  type SessionId,
  TransferService,
  writeSessionId,
} from "../../protocol/index.ts";
import { readSampling } from "../state/index.ts";
import type { GenerateEvent } from "./generate-event.ts";
import { readHookLevel } from "../../observe/index.ts";
import type { GenerateRequest } from "./generate-request.ts";
import type { StatusDocument } from "./status.ts";
import type { TransferHandler } from "./transfer.ts";
import type { WorkerLinks } from "./workers.ts";

/** What the coordinator's gRPC service needs of the coordinator. */
export interface CoordinatorCalls {
  readonly epoch: number;
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
  status(): StatusDocument;
  /** @throws USAGE where no traces are kept, SESSION_NOT_FOUND */
  readTrace(sessionId: SessionId): object;
}

/** Piece of a trace in one message. */
const TRACE_CHUNK_BYTES = 1024 * 1024;

export function bindCoordinator(coordinator: CoordinatorCalls, links: WorkerLinks): ServiceBinding {
  return bindService(CoordinatorService, {
    join: (stream) => links.accept(stream),
    generate: async function* (request, { signal }) {
      for await (const event of coordinator.generate(readGenerateRequest(request), signal)) {
        // Only requests that ask for log-probabilities have it, and these come in through other doors.
        if (event.type !== "prompt") yield writeEvent(event);
      }
    },
    status: () => ({ json: JSON.stringify(coordinator.status()) }),
    ping: ({ payload }) => {
      const startNs = process.hrtime.bigint();
      const epoch = BigInt(coordinator.epoch);
      const monoNs = process.hrtime.bigint();
      return { payload, nodeId: "coordinator", epoch, insideNs: monoNs - startNs, monoNs };
    },
    readTrace: async function* ({ sessionId }) {
      const json = Buffer.from(JSON.stringify(coordinator.readTrace(readSessionId(sessionId))));
      for (let at = 0; at < json.length; at += TRACE_CHUNK_BYTES) {
        yield { data: json.subarray(at, at + TRACE_CHUNK_BYTES) };
      }
    },
  });
}

export function bindTransfer(transfer: TransferHandler): ServiceBinding {
  return bindService(TransferService, {
    fetchRanges: (request, { signal }) => transfer.fetchRanges(request, signal),
  });
}

function readGenerateRequest(from: GenerateRequestMessage): GenerateRequest {
  return {
    prompt: from.promptTokenIds.length > 0 ? from.promptTokenIds : from.prompt,
    maxTokens: from.maxTokens,
    sampling: readSampling(from.sampling),
    ignoreEos: from.ignoreEos,
    wantLogits: from.wantLogits,
    wantKvHashes: from.wantKvHashes,
    ...(from.prefillRows === 0 ? {} : { prefillRows: from.prefillRows }),
    ...(from.observe === "" ? {} : { observe: readHookLevel(from.observe, "observe") }),
  };
}

function writeEvent(event: Exclude<GenerateEvent, { type: "prompt" }>): MessageInitShape<typeof GenerateEventSchema> {
  switch (event.type) {
    case "started": {
      const value = { sessionId: writeSessionId(event.sessionId), promptTokenIds: [...event.promptTokenIds] };
      return { message: { case: "started", value } };
    }
    case "token": {
      const { index, tokenId, text, logits } = event;
      return { message: { case: "token", value: { index, tokenId, text, logits: writeLogits(logits) } } };
    }
    case "done": {
      const stages = event.stages.map((stage) => ({
        node: stage.name,
        firstUnit: stage.units.first,
        endUnit: stage.units.end,
        computeMsP50: stage.computeMsP50,
        queueMsP50: stage.queueMsP50,
        hopMsP50: stage.hopMsP50 ?? 0,
        hopKnown: stage.hopMsP50 !== null,
        weightsBytes: BigInt(stage.weightsBytes),
        rssBytes: BigInt(stage.rssBytes),
      }));
      const { finishReason, ttftMs, decodeTokensPerSec } = event;
      const kv = event.kv.map((layer) => ({ ...layer }));
      const value = { finishReason, ttftMs, decodeTokensPerSec, stages, kv, stepRows: [...event.stepRows] };
      return { message: { case: "done", value } };
    }
    default:
      return event satisfies never;
  }
}

function writeLogits(logits: Float32Array | null): Uint8Array {
  return logits === null
    ? new Uint8Array(0)
    : new Uint8Array(logits.buffer as ArrayBuffer, logits.byteOffset, logits.byteLength);
}
