import type { GenerateRequest } from "../cluster/coordinator/index.ts";
import type { SamplingParams } from "../engine/index.ts";
import { NoodleError } from "../common/index.ts";
import type { CompileThread } from "./compile-thread.ts";
import { giveTurn } from "./give-turn.ts";
import type { ApiLimits } from "./limits.ts";
import type { GenerationIdentity, LiveGeneration, LiveGenerations, ReplyBook } from "./live/index.ts";
import type { ModelRegistry } from "./model-registry.ts";
import type { CompletionRequest } from "./schemas/completions.ts";
import type { SseStream } from "./sse-stream.ts";

/** What making an answer needs. */
export interface WorkContext {
  readonly registry: ModelRegistry;
  readonly limits: ApiLimits;
  /** Of schemas and grammars. */
  readonly compiler: CompileThread;
  /** Of long conversations: another one, so that nobody's grammar holds them up. */
  readonly renderer: CompileThread;
  /** Whose request it is: a hash of its key; "" where there are no keys. */
  readonly client: string;
}

/** What a handler knows beside the request's body. */
export interface RequestContext extends WorkContext {
  /** Aborted when the client is gone or the server stops. */
  readonly signal: AbortSignal;
  /** The header Idempotency-Key. */
  readonly key: string | null;
  /** The header Last-Event-ID. */
  readonly lastEventId: string | null;
  readonly live: LiveGenerations;
  /** Of models that have no book of their own. */
  readonly replies: ReplyBook;
  /** @throws GENERATION_GONE; CLUSTER_NOT_READY while it may still come with a model */
  findGeneration(id: string): LiveGeneration;
  /** Makes this response a stream of events. */
  startStream(): SseStream;
}

/** What every chunk and the response of one request begin with. */
export interface ResponseHead<T extends string> {
  readonly id: string;
  readonly object: T;
  readonly created: number;
  readonly model: string;
}

export function makeHead<T extends string>(
  { id, created }: GenerationIdentity,
  object: T,
  model: string,
): ResponseHead<T> {
  return { id, object, created, model };
}

type CommonFields = Pick<
  CompletionRequest,
  "stop" | "ignore_eos" | "priority" | "deadline_ms" | "cache_prompt" | "stream" | "stream_options"
>;

export interface GenerationParts {
  readonly prompt: readonly number[];
  readonly maxTokens: number;
  readonly sampling: SamplingParams;
  readonly topLogprobs: number | null;
  readonly promptLogprobs: number | null;
}

/** One choice's generation, as the coordinator takes it. */
export function makeGeneration(context: WorkContext, body: CommonFields, parts: GenerationParts): GenerateRequest {
  return {
    ...parts,
    stop: readStops(body.stop),
    ignoreEos: body.ignore_eos ?? false,
    client: context.client,
    priority: body.priority ?? 0,
    cachePrompt: body.cache_prompt ?? true,
    ...(typeof body.deadline_ms === "number" ? { deadlineMs: body.deadline_ms } : {}),
  };
}

function readStops(stop: string | readonly string[] | null | undefined): readonly string[] {
  const list = typeof stop === "string" ? [stop] : (stop ?? []);
  return list.filter((text) => text !== "");
}

export function wantsUsageChunk(body: CommonFields): boolean {
  return body.stream_options?.include_usage ?? false;
}

/** @throws LIMIT_EXCEEDED when the log-probabilities would make a response that nobody can read in one piece */
export function requireLogprobRoom(limits: ApiLimits, tokens: number, top: number | null): void {
  if (top === null) return;
  const entries = tokens * (top + 1);
  if (entries <= limits.logprobEntries) return;
  throw new NoodleError(
    "LIMIT_EXCEEDED",
    `${tokens} tokens with ${top} alternatives each would be ${entries} log-probabilities, the limit is ${limits.logprobEntries} in one response`,
    { details: { param: "logprobs", limit: limits.logprobEntries } },
  );
}

/** JSON of a response whose choices may be large: one at a time, so that the event loop gets its turns. */
export async function writeResponse(head: object, choices: readonly object[], tail: object): Promise<string> {
  const written: string[] = [];
  for (const choice of choices) {
    written.push(JSON.stringify(choice));
    await giveTurn();
  }
  const start = JSON.stringify(head).slice(0, -1);
  const end = JSON.stringify(tail).slice(1);
  return `${start},"choices":[${written.join(",")}]${end === "}" ? "" : ","}${end}`;
}
