import type { MessageInitShape } from "@bufbuild/protobuf";
import type { GenerateRequest } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { SamplingParams } from "../engine/index.ts";
import {
  type GenerateDone,
  type GenerateEvent as GenerateMessage,
  type GenerateRequestSchema,
  readSessionId,
  type SamplingSchema,
  type TokenLogprobs,
} from "../protocol/index.ts";
import type { GeneratedLogprobs, GenerationEvent } from "./generation.ts";

/** A request as it travels to another process's coordinator. */
export function writeGenerateRequest(request: GenerateRequest): MessageInitShape<typeof GenerateRequestSchema> {
  const { prompt, sampling, stop = [], arrange = [], observe, cachePrompt, topLogprobs, promptLogprobs } = request;
  return {
    ...(typeof prompt === "string" ? { prompt } : { promptTokenIds: [...prompt] }),
    maxTokens: request.maxTokens,
    ...(sampling === undefined ? {} : { sampling: writeSampling(sampling) }),
    ignoreEos: request.ignoreEos ?? false,
    wantLogits: request.wantLogits ?? false,
    wantKvHashes: request.wantKvHashes ?? false,
    prefillRows: request.prefillRows ?? 0,
    stop: [...stop],
    client: request.client ?? "",
    priority: request.priority ?? 0,
    deadlineMs: request.deadlineMs ?? 0,
    arrange: arrange.map((run) => ({ ...run, perCall: run.perCall ?? 0 })),
    ...(observe === undefined ? {} : { observe }),
    ...(cachePrompt === undefined ? {} : { cachePrompt }),
    ...(topLogprobs === undefined || topLogprobs === null ? {} : { topLogprobs }),
    ...(promptLogprobs === undefined || promptLogprobs === null ? {} : { promptLogprobs }),
  };
}

/** @throws FRAME_INVALID for an event of a kind that this release does not know */
export function readGenerateEvent({ message: event }: GenerateMessage): GenerationEvent {
  switch (event.case) {
    case "started": {
      const { sessionId, promptTokenIds } = event.value;
      return { type: "started", sessionId: readSessionId(sessionId), promptTokenIds };
    }
    case "prompt":
      return { type: "prompt", logprobs: event.value.logprobs.map(readLogprobs) };
    case "token": {
      const { index, tokenId, text, logits, logprobs } = event.value;
      const told = logprobs === undefined ? null : readLogprobs(logprobs);
      return { type: "token", index, tokenId, text, logits: readLogits(logits), logprobs: told };
    }
    case "done":
      return readDone(event.value);
    case undefined:
      throw new NoodleError("FRAME_INVALID", "the coordinator sent an event of a kind that this release does not know");
    default:
      return event satisfies never;
  }
}

function writeSampling({ logitBias = [], ...sampling }: SamplingParams): MessageInitShape<typeof SamplingSchema> {
  return {
    ...sampling,
    biasTokenIds: logitBias.map(([tokenId]) => tokenId),
    biasValues: logitBias.map(([, bias]) => bias),
  };
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

function readLogprobs({ tokenId, logprob, topTokenIds, topLogprobs }: TokenLogprobs): GeneratedLogprobs {
  const top = topTokenIds.map((other, index) => ({ tokenId: other, logprob: topLogprobs[index] ?? Number.NaN }));
  return { tokenId, logprob, top };
}

/** f32 little-endian; a copy, since the message's bytes need not be aligned. */
function readLogits(bytes: Uint8Array): Float32Array | null {
  if (bytes.length === 0) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length / 4 }, (_, index) => view.getFloat32(index * 4, true));
}
