import { create } from "@bufbuild/protobuf";
import type { GenerateRequest, StatusDocument } from "../cluster/coordinator/index.ts";
import { must, NoodleError } from "../common/index.ts";
import type { SamplingParams } from "../engine/index.ts";
import { createClient, type ServiceClient } from "../net/index.ts";
import {
  CoordinatorService,
  type GenerateDone,
  type GenerateEvent as GenerateMessage,
  readSessionId,
  SamplingSchema,
  writeSessionId,
} from "../protocol/index.ts";
import type { GenerationEvent } from "./generation.ts";
import { MAX_TRACE_CHARS, readRequestTrace, type RequestTrace } from "../trace/index.ts";

const STATUS_TIMEOUT_MS = 5000;
const TRACE_TIMEOUT_MS = 60_000;

/** A cluster that runs elsewhere, through its coordinator's gRPC service. */
export class RemoteCluster {
  readonly #client: ServiceClient<typeof CoordinatorService>;

  /** @param address host:port. Connects at the first call. */
  constructor(address: string) {
    this.#client = createClient(CoordinatorService, address);
  }

  /** @throws PEER_UNREACHABLE, TIMED_OUT */
  async status(signal: AbortSignal): Promise<StatusDocument> {
    const { json } = await this.#client.rpc.status({}, { timeoutMs: STATUS_TIMEOUT_MS, signal });
    return requireStatus(JSON.parse(json), this.#client.address);
  }

  /** As `Coordinator.generate`; also PEER_UNREACHABLE. */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    const {
      prompt,
      maxTokens,
      sampling,
      ignoreEos = false,
      wantLogits = false,
      wantKvHashes = false,
      prefillRows = 0,
      observe,
    } = request;
    const messages = this.#client.rpc.generate(
      {
        ...(typeof prompt === "string" ? { prompt } : { promptTokenIds: [...prompt] }),
        maxTokens,
        ...(sampling === undefined ? {} : { sampling: writeSampling(sampling) }),
        ignoreEos,
        wantLogits,
        wantKvHashes,
        prefillRows,
        ...(observe === undefined ? {} : { observe }),
      },
      { signal },
    );
    for await (const message of messages) yield readEvent(message);
  }

  /** What a generation looked like from inside. @throws SESSION_NOT_FOUND, USAGE, TRACE_INVALID, PEER_UNREACHABLE */
  async readTrace(sessionId: string, signal: AbortSignal): Promise<RequestTrace> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    const options = { timeoutMs: TRACE_TIMEOUT_MS, signal };
    for await (const { data } of this.#client.rpc.readTrace({ sessionId: writeSessionId(sessionId) }, options)) {
      bytes += data.length;
      if (bytes > MAX_TRACE_CHARS) {
        throw new NoodleError("TRACE_INVALID", `a trace of more than ${MAX_TRACE_CHARS} bytes`);
      }
      pieces.push(data);
    }
    return readRequestTrace(Buffer.concat(pieces).toString("utf8"));
  }

  close(): void {
    this.#client.close();
  }
}

/** @throws PROTOCOL_MISMATCH naming who answered with something else */
export function requireStatus(document: unknown, address: string): StatusDocument {
  if (isStatus(document)) return document;
  throw new NoodleError("PROTOCOL_MISMATCH", `${address} answered with no noodle.status.v1`);
}

function isStatus(value: unknown): value is StatusDocument {
  return typeof value === "object" && value !== null && "schema" in value && value.schema === "noodle.status.v1";
}

function writeSampling({ logitBias = [], ...sampling }: SamplingParams) {
  return create(SamplingSchema, {
    ...sampling,
    biasTokenIds: logitBias.map(([tokenId]) => tokenId),
    biasValues: logitBias.map(([, bias]) => bias),
  });
}

function readEvent({ message: event }: GenerateMessage): GenerationEvent {
  switch (event.case) {
    case "started":
      return {
        type: "started",
        sessionId: readSessionId(event.value.sessionId),
        promptTokenIds: event.value.promptTokenIds,
      };
    case "token": {
      const { index, tokenId, text, logits } = event.value;
      return { type: "token", index, tokenId, text, logits: readLogits(logits) };
    }
    case "done":
      return readDone(event.value);
    case undefined:
      throw new NoodleError("FRAME_INVALID", "the coordinator sent an event of a kind that this release does not know");
    default:
      return event satisfies never;
  }
}

function readDone(done: GenerateDone): GenerationEvent {
  return {
    type: "done",
    finishReason: done.finishReason === "stop" ? "stop" : "length",
    ttftMs: done.ttftMs,
    decodeTokensPerSec: done.decodeTokensPerSec,
    stages: done.stages.map((stage) => ({
      nodeId: stage.node,
      name: stage.node,
      units: { first: stage.firstUnit, end: stage.endUnit },
      computeMsP50: stage.computeMsP50,
      queueMsP50: stage.queueMsP50,
      hopMsP50: stage.hopKnown ? stage.hopMsP50 : null,
      weightsBytes: Number(stage.weightsBytes),
      rssBytes: Number(stage.rssBytes),
    })),
    kv: done.kv.map((layer) => ({ block: layer.block, kSha256: layer.kSha256, vSha256: layer.vSha256 })),
    stepRows: done.stepRows,
  };
}

/** f32 little-endian; a copy, since the message's bytes need not be aligned. */
function readLogits(bytes: Uint8Array): Float32Array | null {
  if (bytes.length === 0) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}

/**
 * What the reference has to know of a cluster; all workers must compute with the same number of threads.
 *
 * @throws USAGE when they do not: then no single reference repeats what they do
 */
export function readClusterThreads(status: StatusDocument): number {
  if (status.coordinator.threads > 0) return status.coordinator.threads;
  const holders = status.nodes.filter((node) => node.units !== null);
  const threads = new Set(holders.map((node) => Number(node.capabilities["threads"])));
  if (threads.size !== 1) {
    throw new NoodleError(
      "USAGE",
      `--verify needs workers with one number of threads, these have ${[...threads].join(", ")} (--threads)`,
    );
  }
  return must([...threads][0], "number of threads");
}
