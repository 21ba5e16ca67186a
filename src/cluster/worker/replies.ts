import { create } from "@bufbuild/protobuf";
import { must, type NoodleError } from "../../common/index.ts";
import {
  type ForwardReply,
  type Frame,
  type FrameTrace,
  type StepResult,
  StepAckSchema,
  StepErrorSchema,
  StepResultSchema,
  toErrorInfo,
  writeSessionId,
} from "../../protocol/index.ts";
import type { StepOutcome } from "./step-runner.ts";

/** @param stepId 0 for a frame that could not be read: it is the oldest that the sender has not heard of */
export function makeStepError(stepId: number, error: NoodleError, nodeId: string): ForwardReply["message"] {
  const value = create(StepErrorSchema, { stepId: BigInt(stepId), error: toErrorInfo(error, nodeId) });
  return { case: "error", value };
}

export function makeStepAck(stepId: number, insideNs: bigint): ForwardReply["message"] {
  return { case: "ack", value: create(StepAckSchema, { stepId: BigInt(stepId), insideNs }) };
}

export function makeStepResult(frame: Frame, outcome: StepOutcome, traces: readonly FrameTrace[]): StepResult {
  return create(StepResultSchema, {
    stepId: BigInt(frame.stepId),
    tokens: outcome.sampled.map(({ run, tokenId, logits }) => {
      const { sessionId, fence, branch, position, rows } = must(frame.runs[run], "run of a sampled token");
      return {
        sessionId: writeSessionId(sessionId),
        fence,
        branch,
        position: position + rows,
        tokenId,
        logits:
          logits === null ? new Uint8Array(0) : new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength),
      };
    }),
    logprobs: outcome.logprobs.map(({ run, row, tokenId, logprob, top }) => {
      const { sessionId, position } = must(frame.runs[run], "run of a log-probability");
      return {
        sessionId: writeSessionId(sessionId),
        position: position + row + 1,
        tokenId,
        logprob,
        topTokenIds: top.map((alternative) => alternative.tokenId),
        topLogprobs: top.map((alternative) => alternative.logprob),
      };
    }),
    timings: traces.map(({ stage, queueNs, computeNs, serializeNs, hopNs, bytesIn }) => ({
      stage,
      bytesIn,
      queueNs: BigInt(queueNs),
      computeNs: BigInt(computeNs),
      serializeNs: BigInt(serializeNs),
      hopNs: BigInt(hopNs),
    })),
  });
}

/** Fills in the entry that the sender began with what it knows of the hop, or adds one. */
export function completeTrace(traces: readonly FrameTrace[], own: Omit<FrameTrace, "hopNs">): readonly FrameTrace[] {
  const begun = traces.at(-1);
  if (begun?.stage !== own.stage) return [...traces, { ...own, hopNs: 0 }];
  return [...traces.slice(0, -1), { ...own, hopNs: begun.hopNs }];
}
