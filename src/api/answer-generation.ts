import { NoodleError } from "../common/index.ts";
import { type DeliveryFields, deliverStream, deliverWhole, type Preparation, type ResponseKind } from "./deliver.ts";
import { fillKept, readKept, writeKept } from "./kept-reply.ts";
import { type GenerationIdentity, identify, LiveGeneration, readEventId } from "./live/index.ts";
import type { RequestContext, WorkContext } from "./request-context.ts";
import { writeOrigin } from "./request-origin.ts";
import type { RouteAnswer } from "./routes.ts";

/** An endpoint that generates. */
export interface Endpoint<T extends DeliveryFields> {
  readonly path: string;
  readonly kind: ResponseKind;
  /** @param id of the generation: whatever the response makes up follows from it */
  prepare(context: WorkContext, body: T, id: string): Promise<Preparation>;
}

/**
 * Answers a request that generates. Where it names itself by an Idempotency-Key, or names an event by Last-Event-ID, it
 * may be one that runs already or has ended: then it gets that one's response.
 */
export async function answerGeneration<T extends DeliveryFields>(
  endpoint: Endpoint<T>,
  context: RequestContext,
  body: T,
): Promise<RouteAnswer> {
  const { client, key, live, limits } = context;
  const isKnown = body.stream === true || key !== null;
  const identity = identify(endpoint.kind.idPrefix, endpoint.path, isKnown ? body : null, { client, key });
  if (context.lastEventId !== null && body.stream === true) {
    return goOn(context, context.lastEventId, (found) => {
      if (found.identity.bodySha256 === identity.bodySha256) return;
      throw new NoodleError("IDEMPOTENCY_MISMATCH", "Last-Event-ID is that of another request");
    });
  }
  const { model } = context.registry.find(body.model);
  const named = key === null ? null : live.findNamed(client, key, identity.bodySha256);
  if (named !== null) return answerFrom(context, named, null);
  const generation = new LiveGeneration(identity, body.stream === true ? limits.resumeBufferBytes : null);
  if (isKnown) live.add(generation);
  const start = async (): Promise<string | null> => {
    const prepared = await endpoint.prepare(context, body, identity.id);
    if (!isKnown) return produce(endpoint.kind, context, body, generation, prepared);
    const requests = prepared.requests.map((request, choice) => ({
      ...request,
      origin: writeOrigin({ path: endpoint.path, body, identity, choice }),
    }));
    return produce(endpoint.kind, context, body, generation, { ...prepared, requests });
  };
  const answer = answerFrom(context, generation, null);
  void runGeneration(context, generation, model.replies ?? context.replies, start);
  return answer;
}

/**
 * Goes on with a stream behind an event.
 *
 * @throws REQUEST_INVALID, GENERATION_GONE, CLUSTER_NOT_READY while what a stop has cut off is not there yet
 */
export function goOn(
  context: RequestContext,
  lastEventId: string,
  check: (found: LiveGeneration) => void,
): Promise<RouteAnswer> {
  const { generationId, counts } = readEventId(lastEventId);
  const found = context.findGeneration(generationId);
  check(found);
  return answerFrom(context, found, counts);
}

/** Answers with what a generation says. @param counts events of each choice that its reader has; null = none */
export async function answerFrom(
  context: RequestContext,
  generation: LiveGeneration,
  counts: readonly number[] | null,
): Promise<RouteAnswer> {
  const { stream } = generation;
  if (stream?.isOver === true && counts !== null && stream.log?.isRead(counts) === true) {
    // Tells a browser's EventSource not to come again.
    return { status: 204, body: "" };
  }
  generation.attach(context.signal);
  if (stream === null) return { body: await generation.whole };
  await stream.pass(context.startStream(), counts);
  return { body: undefined };
}

/** What makes the response. @returns the JSON of a whole one; null for a stream */
export async function produce(
  kind: ResponseKind,
  { limits }: WorkContext,
  body: DeliveryFields,
  { identity, stream, signal }: LiveGeneration,
  prepared: Preparation,
): Promise<string | null> {
  const delivery = { ...prepared, atOnce: limits.generationsAtOnce, signal };
  if (stream === null) return deliverWhole(identity, kind, body, delivery);
  await deliverStream(identity, kind, body, delivery, stream);
  return null;
}

/** Runs a generation to its end, and keeps the reply where it has a name. Never throws: who waits for it hears of it. */
export async function runGeneration(
  { live }: Pick<RequestContext, "live">,
  generation: LiveGeneration,
  replies: RequestContext["replies"],
  start: () => Promise<string | null>,
): Promise<void> {
  const named = nameReply(generation.identity);
  try {
    const claimed = named === null ? null : await replies.claim(named);
    if (claimed?.state === "running") {
      throw new NoodleError("IDEMPOTENCY_RUNNING", "the request with this Idempotency-Key still runs");
    }
    if (claimed?.state === "kept") {
      generation.complete(fillKept(generation, readKept(claimed.reply)));
    } else {
      let reply: string | null = null;
      let text: string | null = null;
      try {
        text = await start();
        reply = writeKept(generation, text);
      } finally {
        // A reply that can't be kept is given all the same; one that there is not sets the key free.
        if (named !== null) await replies.keep(named, reply).catch(() => undefined);
      }
      generation.complete(text);
    }
  } catch (error) {
    generation.fail(NoodleError.from(error));
  } finally {
    live.retire(generation);
  }
}

function nameReply({ client, key, bodySha256 }: GenerationIdentity) {
  return key === null ? null : { client, key, bodySha256 };
}
