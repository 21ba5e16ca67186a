import { z } from "zod";
import type { OpenSession } from "../../store/index.ts";
import type { ComputedRun } from "../../schedule/index.ts";
import type { GenerateEvent, TokenLogprobs } from "./generate-event.ts";
import type { GenerateRequest } from "./generate-request.ts";

type TokenEvent = Extract<GenerateEvent, { readonly type: "token" }>;

/** A generation as a journal has it. */
export interface JournaledSession {
  readonly sessionId: string;
  /** With its prompt as token ids, and without a deadline: that is `deadlineMs`. */
  readonly request: GenerateRequest;
  /** SHA-256 of the model, in hex. */
  readonly model: string;
  readonly promptTokenIds: readonly number[];
  readonly tokenIds: readonly number[];
  /** How the positions were computed. */
  readonly notes: readonly ComputedRun[];
  /** Of each token; null where none were asked for. */
  readonly logprobs: readonly (TokenLogprobs | null)[];
  /** By the clock on the wall; null = none. */
  readonly deadlineMs: number | null;
  /** It came to its end. */
  readonly isOver: boolean;
}

const REQUEST = z.looseObject({ maxTokens: z.int().min(0), model: z.string(), origin: z.looseObject({}) });

const count = z.int().min(0);
const CALL = z.tuple([count, count, count, count, count]);
const LOGPROBS = z.tuple([count, z.number(), z.array(z.tuple([count, z.number()]))]);
const NOTES = z.object({ c: z.array(CALL).optional(), l: LOGPROBS.optional() });

/** A number that JSON has no word for. */
const LEAST = "-Infinity";

/** What a journal keeps of a request beside its prompt, client and deadline: JSON. */
export function writeRequest(request: GenerateRequest): Readonly<Record<string, unknown>> {
  const { prompt: _prompt, client: _client, deadlineMs: _deadline, ...rest } = request;
  return JSON.parse(
    JSON.stringify(rest, (_, value: unknown) => (value === Number.NEGATIVE_INFINITY ? LEAST : value)),
  ) as Record<string, unknown>;
}

/** What a journal keeps beside a token. */
export function writeNotes({ calls, logprobs }: TokenEvent): string | null {
  if ((calls === undefined || calls.length === 0) && logprobs === null) return null;
  const notes: z.infer<typeof NOTES> = {};
  if (calls !== undefined && calls.length > 0) {
    notes.c = calls.map(({ position, rows, callRows, place, perCall }) => [
      position,
      rows,
      callRows,
      place,
      perCall ?? 0,
    ]);
  }
  if (logprobs !== null) {
    const { tokenId, logprob, top } = logprobs;
    notes.l = [tokenId, logprob, top.map((other) => [other.tokenId, other.logprob])];
  }
  return JSON.stringify(notes);
}

/** @returns null for what nobody can go on with: of another door, or as another release wrote it */
export function readSession(session: OpenSession): JournaledSession | null {
  const parsed = REQUEST.safeParse(session.request);
  if (!parsed.success) return null;
  const { model, ...rest } = JSON.parse(JSON.stringify(parsed.data), (_, value: unknown) =>
    value === LEAST ? Number.NEGATIVE_INFINITY : value,
  ) as typeof parsed.data;
  // It was checked when it was accepted, and its row has a checksum.
  const request = { ...rest, prompt: session.promptTokenIds, client: session.client } as GenerateRequest;
  // What was told of its prompt is not in the journal.
  if ((request.promptLogprobs ?? null) !== null || request.wantLogits === true) return null;
  const notes = session.notes.map((text) => NOTES.safeParse(text === null ? {} : JSON.parse(text)));
  if (notes.some(({ success }) => !success)) return null;
  const read = notes.map(({ data }) => data ?? {});
  return {
    sessionId: session.sessionId,
    request,
    model,
    promptTokenIds: session.promptTokenIds,
    tokenIds: session.tokenIds,
    notes: read.flatMap(({ c = [] }) =>
      c.map(([position, rows, callRows, place, perCall]) => ({
        position,
        rows,
        callRows,
        place,
        ...(perCall === 0 ? {} : { perCall }),
      })),
    ),
    logprobs: read.map(({ l }) => (l === undefined ? null : readLogprobs(l))),
    deadlineMs: session.deadlineMs,
    isOver: session.outcome !== null,
  };
}

function readLogprobs([tokenId, logprob, top]: z.infer<typeof LOGPROBS>): TokenLogprobs {
  return { tokenId, logprob, top: top.map(([id, value]) => ({ tokenId: id, logprob: value })) };
}
