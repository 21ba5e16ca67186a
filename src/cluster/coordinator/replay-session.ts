import { EventQueue } from "./event-queue.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { JournaledSession } from "./journaled-text.ts";
import { SessionOutput } from "./session-output.ts";
import type { PromptTokenizer } from "./tokenizer.ts";

/** What a session told up to where its journal ends. */
export interface ReplayedSession {
  readonly events: readonly GenerateEvent[];
  /** Its last event, where it has ended; null where it goes on. */
  readonly end: GenerateEvent | null;
}

/** Tells a journaled session's events again, from the first on. Pure. */
export async function replaySession(
  session: JournaledSession,
  contextTokens: number,
  tokenizer: PromptTokenizer,
): Promise<ReplayedSession> {
  const { request, sessionId, promptTokenIds, tokenIds } = session;
  const prompt = promptTokenIds.length;
  const queue = new EventQueue<GenerateEvent>();
  const output = new SessionOutput(request, prompt, tokenizer, queue);
  queue.push({ type: "started", sessionId, promptTokenIds, cachedTokens: 0, queueMs: 0 });
  const most = Math.min(request.maxTokens, contextTokens - prompt);
  let ends = false;
  for (const [index, tokenId] of tokenIds.entries()) {
    const position = prompt + index;
    const logprobs = session.logprobs[index] ?? null;
    if (logprobs !== null) output.receiveLogprobs(position, logprobs);
    ends = output.tellToken(position, { tokenId, logits: null, receivedMs: 0 }, index + 1 >= most);
  }
  queue.end();
  const events: GenerateEvent[] = [];
  for (let event = await queue.next(); event !== undefined; event = await queue.next()) events.push(event);
  const isOver = ends || tokenIds.length >= most || session.isOver;
  return { events, end: isOver ? describeEnd(session, ends, output.stopText) : null };
}

/** Nobody knows any more how long it took. */
function describeEnd({ tokenIds }: JournaledSession, ends: boolean, stopText: string | null): GenerateEvent {
  return {
    type: "done",
    finishReason: ends ? "stop" : "length",
    stopText,
    generatedTokens: tokenIds.length,
    queueMs: 0,
    prefillMs: 0,
    decodeMs: 0,
    cachedTokens: 0,
    notes: [],
    ttftMs: 0,
    decodeTokensPerSec: 0,
    stages: [],
    kv: [],
    stepRows: [],
  };
}
