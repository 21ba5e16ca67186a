import { CHAT } from "./chat-completions.ts";
import { COMPLETION } from "./completions.ts";
import type { ApiLimits } from "./limits.ts";
import { readRequest } from "./read-request.ts";
import { makeRestoring, type RestoringEndpoint } from "./restore-generations.ts";
import { buildChatRequest } from "./schemas/chat.ts";
import { buildCompletionRequest } from "./schemas/completions.ts";

/** Endpoints that generate, as they read what a journal kept. */
export function buildRestoring(limits: ApiLimits): readonly RestoringEndpoint[] {
  const chat = buildChatRequest(limits);
  const completion = buildCompletionRequest(limits);
  return [
    makeRestoring(CHAT, (body) => readRequest(chat, body)),
    makeRestoring(COMPLETION, (body) => readRequest(completion, body)),
  ];
}
