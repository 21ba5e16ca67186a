import { NoodleError } from "../common/index.ts";
import { type Endpoint, produce, runGeneration } from "./answer-generation.ts";
import type { DeliveryFields, Preparation, ResponseKind } from "./deliver.ts";
import { LiveGeneration, type LiveGenerations, type ReplyBook } from "./live/index.ts";
import type { WorkContext } from "./request-context.ts";
import { readOrigin, type RequestOrigin } from "./request-origin.ts";
import type { InterruptedRequest, ServedModel } from "./served-model.ts";

/** An endpoint that takes its bodies from a journal. */
export interface RestoringEndpoint {
  readonly path: string;
  readonly kind: ResponseKind;
  /** @throws REQUEST_INVALID, LIMIT_EXCEEDED */
  open(body: unknown, modelId: string): { readonly body: DeliveryFields; readonly prepare: Prepare };
}

type Prepare = (context: WorkContext, id: string) => Promise<Preparation>;

/** @param read checks a body */
export function makeRestoring<T extends DeliveryFields>(
  endpoint: Endpoint<T>,
  read: (body: unknown) => T,
): RestoringEndpoint {
  const { path, kind } = endpoint;
  const open: RestoringEndpoint["open"] = (sent, modelId) => {
    const body = { ...read(sent), model: modelId };
    return { body, prepare: (context, id) => endpoint.prepare(context, body, id) };
  };
  return { path, kind, open };
}

export interface RestoreParts {
  readonly endpoints: readonly RestoringEndpoint[];
  readonly work: Omit<WorkContext, "client">;
  readonly live: LiveGenerations;
  readonly replies: ReplyBook;
}

/** One request of the API, with what a stop has left of its choices. */
interface Interrupted {
  readonly origin: RequestOrigin;
  /** By choice: the session to go on with. */
  readonly sessions: Map<number, string>;
}

/**
 * Goes on with the requests that the last stop of a model's coordinator cut off: whoever comes with a Last-Event-ID of
 * theirs, or their Idempotency-Key, gets the rest. Those that nobody comes for end after `reconnectMs`, unless they have
 * a name.
 */
export function restoreGenerations(model: ServedModel, parts: RestoreParts): void {
  const requests = new Map<string, Interrupted>();
  for (const interrupted of model.interrupted?.() ?? []) {
    const origin = readOrigin(interrupted.origin, interrupted.client);
    const endpoint = parts.endpoints.find(({ path }) => path === origin?.path);
    if (origin === null || endpoint === undefined || !isAsked(origin)) {
      abandon(model, interrupted);
      continue;
    }
    const request = requests.get(origin.identity.id) ?? { origin, sessions: new Map<number, string>() };
    requests.set(origin.identity.id, request);
    request.sessions.set(origin.choice, interrupted.sessionId);
  }
  for (const request of requests.values()) restore(model, request, parts);
}

function restore(model: ServedModel, { origin, sessions }: Interrupted, parts: RestoreParts): void {
  const { endpoints, live, work } = parts;
  const { identity, path } = origin;
  const isStream = isStreamed(origin);
  const generation = new LiveGeneration(identity, isStream ? work.limits.resumeBufferBytes : null);
  live.add(generation);
  const start = async (): Promise<string | null> => {
    const endpoint = endpoints.find((each) => each.path === path);
    if (endpoint === undefined) throw new NoodleError("INTERNAL", `there is no ${path}`);
    const { body, prepare } = endpoint.open(origin.body, model.id);
    const context = { ...work, client: identity.client };
    const prepared = await prepare(context, identity.id);
    return produce(endpoint.kind, context, body, generation, { ...prepared, resumed: sessions });
  };
  void runGeneration(parts, generation, model.replies ?? parts.replies, start);
  if (identity.key !== null) return;
  const timer = setTimeout(() => {
    if (generation.isAlone) generation.cancel();
  }, work.limits.reconnectMs);
  timer.unref();
}

/** Its client can come again. */
function isAsked(origin: RequestOrigin): boolean {
  return isStreamed(origin) || origin.identity.key !== null;
}

function isStreamed({ body }: RequestOrigin): boolean {
  return (body as { readonly stream?: unknown }).stream === true;
}

/** Reads nothing of it, which ends it. */
function abandon(model: ServedModel, { sessionId }: InterruptedRequest): void {
  model.abandon?.(sessionId);
}
