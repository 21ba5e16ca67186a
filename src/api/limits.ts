import { NoodleError } from "../common/index.ts";

/** What one request, and all of them together, may ask for. Each is refused with a typed 4xx that names it. */
export interface ApiLimits {
  /** Bytes of a request's body. */
  readonly bodyBytes: number;
  /** Objects and arrays inside one another. */
  readonly jsonDepth: number;
  /** Objects, arrays and members of objects in a body, together. */
  readonly jsonMembers: number;
  readonly messages: number;
  /** Tokens to generate; also what is generated where a request does not say. */
  readonly maxTokens: number;
  /** Prompts of one completion request. */
  readonly prompts: number;
  /** Choices of each prompt. */
  readonly n: number;
  readonly stops: number;
  readonly stopBytes: number;
  readonly logitBias: number;
  readonly topLogprobs: number;
  /** Log-probabilities, alternatives included, that one response may hold. */
  readonly logprobEntries: number;
  /** Token ids whose texts one request is told. */
  readonly tokenIds: number;
  readonly grammarBytes: number;
  readonly tools: number;
  /** What compiling a schema, a grammar or a long conversation may take. */
  readonly compileMs: number;
  readonly deadlineMs: number;
  /** Generations of one request that run at once; the others wait for them. */
  readonly generationsAtOnce: number;
  readonly connections: number;
  readonly headers: number;
  readonly headerBytes: number;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly idleTimeoutMs: number;
  /** A reader that leaves bytes waiting for this long is dropped; its generation goes on to its end. */
  readonly stallMs: number;
  /** What may wait for a slow reader before its generation is held back. */
  readonly readerBufferBytes: number;
  /** Of a stream's events that are kept for readers that lost their connection. */
  readonly resumeBufferBytes: number;
  /** How long they are kept behind its end. */
  readonly resumeMs: number;
  /** Of all streams that have ended. */
  readonly resumeTotalBytes: number;
  /** A request that a stop of the coordinator cut off goes on for this long without its reader. */
  readonly reconnectMs: number;
  /** A stream that is silent for this long gets a comment line. */
  readonly pingMs: number;
}

export const DEFAULT_LIMITS: ApiLimits = {
  bodyBytes: 1024 * 1024,
  jsonDepth: 32,
  jsonMembers: 16_384,
  messages: 256,
  maxTokens: 4096,
  prompts: 64,
  n: 4,
  stops: 16,
  stopBytes: 128,
  logitBias: 1024,
  topLogprobs: 20,
  logprobEntries: 131_072,
  tokenIds: 65_536,
  grammarBytes: 64 * 1024,
  tools: 128,
  compileMs: 2000,
  deadlineMs: 3_600_000,
  generationsAtOnce: 4,
  connections: 2048,
  headers: 100,
  headerBytes: 16 * 1024,
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  idleTimeoutMs: 120_000,
  stallMs: 30_000,
  readerBufferBytes: 64 * 1024,
  resumeBufferBytes: 4 * 1024 * 1024,
  resumeMs: 300_000,
  resumeTotalBytes: 32 * 1024 * 1024,
  reconnectMs: 60_000,
  pingMs: 15_000,
};

/** @throws USAGE for a limit that is no positive integer */
export function compileLimits(limits: Partial<ApiLimits> = {}): ApiLimits {
  const compiled = { ...DEFAULT_LIMITS, ...limits };
  for (const [name, value] of Object.entries(compiled)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new NoodleError("USAGE", `the limit ${name} must be a positive integer, got ${String(value)}`);
    }
  }
  return compiled;
}
