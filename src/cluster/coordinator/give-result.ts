import { NoodleError } from "../../common/index.ts";
import { readSessionId, type SessionId, type StepResult } from "../../protocol/index.ts";
import type { TokenLogprobs } from "./generate-event.ts";
import type { Session } from "./session.ts";

type Find = (id: SessionId) => Session | undefined;

/** Hands a step's log-probabilities to their sessions. To be called before `giveTokens`. */
export function giveLogprobs(result: StepResult, find: Find): void {
  for (const row of result.logprobs) {
    const logprobs: TokenLogprobs = {
      tokenId: row.tokenId,
      logprob: row.logprob,
      top: row.topTokenIds.map((tokenId, index) => ({ tokenId, logprob: row.topLogprobs[index] ?? Number.NaN })),
    };
    find(readSessionId(row.sessionId))?.receiveLogprobs(row.position, logprobs);
  }
}

/** Hands a step's tokens to their sessions; those of an earlier opening are dropped. @param onToken it got one */
export function giveTokens(
  result: StepResult,
  find: Find,
  receivedMs: number,
  onToken: (session: Session) => void,
): void {
  for (const token of result.tokens) {
    const session = find(readSessionId(token.sessionId));
    if (session === undefined || token.fence !== session.fence || token.branch !== 0) continue;
    try {
      const { generatedTokens } = session;
      session.receive(token.position, { tokenId: token.tokenId, logits: readLogits(token.logits), receivedMs });
      if (session.generatedTokens > generatedTokens) onToken(session);
    } catch (error) {
      session.fail(NoodleError.from(error));
    }
  }
}

/** A copy: the bytes belong to the message. */
function readLogits(bytes: Uint8Array): Float32Array | null {
  if (bytes.length === 0) return null;
  return new Float32Array(Uint8Array.from(bytes).buffer);
}
