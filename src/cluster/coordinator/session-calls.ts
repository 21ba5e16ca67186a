import { GREEDY } from "../../engine/index.ts";
import { NoodleError } from "../../common/index.ts";
import { writeSessionId } from "../../protocol/index.ts";
import { writeSampling } from "../state/index.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Session } from "./session.ts";
import type { PrefixSource } from "./slot-book.ts";
import type { LayerKvHash, StageClient } from "./stage-client.ts";

/** Deadline of the unary calls that open and close a session on one stage. */
const CALL_TIMEOUT_MS = 5000;
const CLOSE_TIMEOUT_MS = 1000;
/** No session has a later one. */
const LAST_FENCE = 0xffffffff;
/** Reading a long KV cache takes a while. */
const READ_KV_TIMEOUT_MS = 60_000;

/** A stage frees a session by itself after this long without a step: its coordinator is gone. */
const SESSION_LEASE_MS = 600_000;

/**
 * Opens the session on every stage.
 *
 * @param source what it starts with
 * @returns false when a stage does not have that any more; the others may have opened it
 * @throws a stage's refusal, or what ended the session meanwhile
 */
export async function openSession(session: Session, pipeline: Pipeline, source: PrefixSource | null): Promise<boolean> {
  const { id, epoch, fence, slot, request, promptTokens } = session;
  const message = {
    epoch: BigInt(epoch),
    sessionId: writeSessionId(id),
    fence,
    slot,
    sampling: writeSampling(request.sampling ?? GREEDY),
    leaseMs: SESSION_LEASE_MS,
    wantLogits: request.wantLogits === true,
    promptTokens,
    ...(source === null
      ? {}
      : { prefix: { sessionId: writeSessionId(source.sessionId), slot: source.slot, tokens: source.tokens } }),
  };
  const options = { timeoutMs: CALL_TIMEOUT_MS, signal: session.over };
  // All answers, not the first refusal only: what is closed afterwards must not be opened later.
  const create = async (stage: StageClient): Promise<void> => {
    try {
      await stage.createSession(message, options);
    } catch (thrown) {
      if (!(await freeAbandoned(NoodleError.from(thrown), stage, epoch))) throw thrown;
      await stage.createSession(message, options);
    }
  };
  const answers = await Promise.allSettled(pipeline.stages.map(create));
  if (session.failure !== undefined) throw session.failure;
  let gone = false;
  for (const answer of answers) {
    if (answer.status === "fulfilled") continue;
    const error = NoodleError.from(answer.reason);
    if (error.code !== "PREFIX_GONE" || source === null) throw error;
    gone = true;
  }
  return !gone;
}

/**
 * A stage that never heard of a session's end holds its slot. Here the slot is free, or nobody would be opened in it: what
 * holds it there is over.
 *
 * @returns false when that is not what the stage refuses
 */
async function freeAbandoned({ code, details }: NoodleError, stage: StageClient, epoch: number): Promise<boolean> {
  const { heldBy } = details;
  if (code !== "SESSION_LIMIT" || typeof heldBy !== "string") return false;
  const message = { epoch: BigInt(epoch), sessionId: writeSessionId(heldBy), fence: LAST_FENCE, keepKv: false };
  await stage.closeSession(message, { timeoutMs: CLOSE_TIMEOUT_MS });
  return true;
}

/**
 * Frees the session on every stage. Stages that are gone have freed it already: their errors say nothing new.
 *
 * @param keeps its keys and values shall stay for a later session
 * @returns positions that every stage keeps
 */
export async function closeSession(
  session: Pick<Session, "id" | "epoch" | "fence" | "answeredRows">,
  pipeline: Pipeline,
  keeps: boolean,
): Promise<number> {
  const { id, epoch, fence } = session;
  const message = { epoch: BigInt(epoch), sessionId: writeSessionId(id), fence, keepKv: keeps };
  const answers = await Promise.allSettled(
    pipeline.stages.map((stage) => stage.closeSession(message, { timeoutMs: CLOSE_TIMEOUT_MS })),
  );
  const kept = answers.map((answer) => (answer.status === "fulfilled" ? answer.value : 0));
  return keeps ? Math.min(session.answeredRows, ...kept) : 0;
}

/** Whether what the stages hold of it is whole and may be used again. */
export function keepsPrefix(session: Session): boolean {
  if (!session.isSettled) return false;
  const { failure } = session;
  if (failure === undefined) return true;
  return failure.code === "INTERRUPTED" || failure.code === "DEADLINE_EXCEEDED" || failure.code === "TIMED_OUT";
}

/** Hashes of the session's KV, layer by layer in the order of the model. */
export async function readKvHashes(session: Session, pipeline: Pipeline): Promise<readonly LayerKvHash[]> {
  const message = { epoch: BigInt(session.epoch), sessionId: writeSessionId(session.id) };
  const options = { timeoutMs: READ_KV_TIMEOUT_MS };
  const stages = await Promise.all(pipeline.stages.map((stage) => stage.readKvHashes(message, options)));
  return stages.flat().sort((a, b) => a.block - b.block);
}
