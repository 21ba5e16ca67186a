import type { MessageInitShape } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import { readHookLevel } from "../../observe/index.ts";
import {
  type GenerateEventSchema,
  type GenerateRequest as GenerateRequestMessage,
  type TokenLogprobsSchema,
  writeSessionId,
} from "../../protocol/index.ts";
import { readSampling } from "../state/index.ts";
import type { GenerateEvent, TokenLogprobs } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";

type EventInit = MessageInitShape<typeof GenerateEventSchema>;

/** What a client of the gRPC service may say at length; the HTTP API has limits of its own. */
const MAX_STOPS = 16;
const MAX_STOP_BYTES = 1024;
const MAX_CLIENT_CHARS = 128;

/** Of a prompt, in one message. */
const LOGPROBS_PER_MESSAGE = 1024;

/** @throws USAGE, FRAME_INVALID, LIMIT_EXCEEDED */
export function readGenerateRequest(from: GenerateRequestMessage): GenerateRequest {
  const { topLogprobs, promptLogprobs, cachePrompt } = from;
  checkLengths(from);
  return {
    prompt: from.promptTokenIds.length > 0 ? from.promptTokenIds : from.prompt,
    maxTokens: from.maxTokens,
    sampling: readSampling(from.sampling),
    ignoreEos: from.ignoreEos,
    wantLogits: from.wantLogits,
    wantKvHashes: from.wantKvHashes,
    stop: from.stop,
    // Names of this door are not those of the other one's keys.
    client: from.client === "" ? "" : `grpc:${from.client}`,
    priority: from.priority,
    ...(from.prefillRows === 0 ? {} : { prefillRows: from.prefillRows }),
    ...(from.observe === "" ? {} : { observe: readHookLevel(from.observe, "observe") }),
    ...(topLogprobs === undefined ? {} : { topLogprobs }),
    ...(promptLogprobs === undefined ? {} : { promptLogprobs }),
    ...(from.deadlineMs === 0 ? {} : { deadlineMs: from.deadlineMs }),
    ...(cachePrompt === undefined ? {} : { cachePrompt }),
    ...(from.arrange.length === 0 ? {} : { arrange: from.arrange.map(readRun) }),
  };
}

/** An event as it travels: one message, or several. */
export function writeEvent(event: GenerateEvent): readonly EventInit[] {
  switch (event.type) {
    case "started": {
      const { sessionId, promptTokenIds, cachedTokens, queueMs } = event;
      const id = writeSessionId(sessionId);
      const value = { sessionId: id, promptTokenIds: [...promptTokenIds], cachedTokens, queueMs };
      return [{ message: { case: "started", value } }];
    }
    case "prompt":
      return cutList(event.logprobs, LOGPROBS_PER_MESSAGE).map((part) => ({
        message: { case: "prompt", value: { logprobs: part.map(writeLogprobs) } },
      }));
    case "token": {
      const { index, tokenId, text, logits, logprobs } = event;
      const value = { index, tokenId, text, logits: writeLogits(logits) };
      const whole = logprobs === null ? value : { ...value, logprobs: writeLogprobs(logprobs) };
      return [{ message: { case: "token", value: whole } }];
    }
    case "done":
      return [writeDone(event)];
    default:
      return event satisfies never;
  }
}

function writeDone(event: Extract<GenerateEvent, { type: "done" }>): EventInit {
  const { stopText, type: _, ...done } = event;
  const value = {
    ...done,
    stages: event.stages.map((stage) => ({
      node: stage.name,
      firstUnit: stage.units.first,
      endUnit: stage.units.end,
      computeMsP50: stage.computeMsP50,
      queueMsP50: stage.queueMsP50,
      hopMsP50: stage.hopMsP50 ?? 0,
      hopKnown: stage.hopMsP50 !== null,
      weightsBytes: BigInt(stage.weightsBytes),
      rssBytes: BigInt(stage.rssBytes),
    })),
    kv: event.kv.map((layer) => ({ ...layer })),
    stepRows: [...event.stepRows],
    notes: event.notes.map((run) => ({ ...run, perCall: run.perCall ?? 0 })),
    ...(stopText === null ? {} : { stopText }),
  };
  return { message: { case: "done", value } };
}

function checkLengths({ stop, client }: GenerateRequestMessage): void {
  const refuse = (text: string): never => {
    throw new NoodleError("LIMIT_EXCEEDED", text);
  };
  if (stop.length > MAX_STOPS) refuse(`${stop.length} stop texts, the limit is ${MAX_STOPS} (stop)`);
  for (const bytes of stop.map((text) => Buffer.byteLength(text))) {
    if (bytes > MAX_STOP_BYTES) refuse(`a stop text of ${bytes} bytes, the limit is ${MAX_STOP_BYTES} (stop)`);
  }
  if (client.length > MAX_CLIENT_CHARS) {
    refuse(`a client's name of ${client.length} characters, the limit is ${MAX_CLIENT_CHARS} (client)`);
  }
}

function readRun({ position, rows, callRows, place, perCall }: GenerateRequestMessage["arrange"][number]) {
  const run = { position, rows, callRows, place };
  return perCall === 0 ? run : { ...run, perCall };
}

function cutList<T>(list: readonly T[], length: number): readonly (readonly T[])[] {
  const count = Math.max(1, Math.ceil(list.length / length));
  return Array.from({ length: count }, (_, part) => list.slice(part * length, (part + 1) * length));
}

function writeLogprobs({ tokenId, logprob, top }: TokenLogprobs): MessageInitShape<typeof TokenLogprobsSchema> {
  return {
    tokenId,
    logprob,
    topTokenIds: top.map((other) => other.tokenId),
    topLogprobs: top.map((other) => other.logprob),
  };
}

function writeLogits(logits: Float32Array | null): Uint8Array {
  return logits === null
    ? new Uint8Array(0)
    : new Uint8Array(logits.buffer as ArrayBuffer, logits.byteOffset, logits.byteLength);
}
