import { EventQueue } from "./event-queue.ts";
import type { GenerateEvent } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { Session, type SessionPlace } from "./session.ts";
import type { PromptTokenizer } from "./tokenizer.ts";

/** A byte of a token is a letter; token 9 ends the text. */
export const LETTERS: PromptTokenizer = {
  vocabSize: 200,
  tokenize: (text) => Int32Array.from(Buffer.from(text)),
  pieceBytes: (tokenId) => Uint8Array.of(tokenId),
  isEndOfGeneration: (tokenId) => tokenId === 9,
};

/** A session that no stage knows of. */
export function createSession(
  request: Partial<GenerateRequest> = {},
  prompt: readonly number[] = [1, 2, 3, 4, 5, 6],
  place: Partial<SessionPlace> = {},
): { readonly session: Session; readonly output: EventQueue<GenerateEvent> } {
  const output = new EventQueue<GenerateEvent>();
  const where = { id: "00".repeat(16), slot: 0, epoch: 1, stages: 1, ...place };
  const limits = { contextTokens: 3000, maxOutputRows: 8 };
  const session = new Session(where, { prompt, maxTokens: 2000, ...request }, prompt, limits, LETTERS, output);
  return { session, output };
}
