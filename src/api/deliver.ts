import type { GenerateEvent } from "../cluster/coordinator/index.ts";
import { must } from "../common/index.ts";
import { type GenerationsRequest, runGenerations } from "./generations.ts";
import { makeHead, type RequestContext, wantsUsageChunk, writeResponse } from "./request-context.ts";
import type { CompletionRequest } from "./schemas/completions.ts";
import { describeTimings, describeUsage, type Finished } from "./timings.ts";

/** One choice of a response, filled by the events of its generation. */
export interface ChoiceOutput {
  /** @returns the `choices[0]` of each chunk that may be streamed now; the last one has a finish reason */
  take(event: GenerateEvent): ChoicePieces | Promise<ChoicePieces>;
  /** The whole of it, once it is done. To be called once, where nothing is streamed. */
  message(): object;
}

type ChoicePieces = readonly { readonly finish_reason: string | null }[];

/** How an endpoint calls what it answers with. */
export interface ResponseKind {
  readonly idPrefix: string;
  readonly whole: string;
  readonly chunk: string;
}

/** What an endpoint hands over; how many run at once and what ends them is the request's. */
export type Delivery = Omit<GenerationsRequest, "onEvent" | "atOnce" | "signal"> & {
  readonly outputs: readonly ChoiceOutput[];
};
type Run = Omit<GenerationsRequest, "onEvent"> & Delivery;
type DeliveryFields = Pick<CompletionRequest, "stream" | "stream_options" | "timings">;

/**
 * Runs the generations of one request and answers with what they say: as a stream where that is asked for.
 *
 * @returns the JSON of the response; undefined where it went out as a stream
 */
export function deliver(
  context: RequestContext,
  body: DeliveryFields,
  kind: ResponseKind,
  delivery: Delivery,
): Promise<string | undefined> {
  const run = { ...delivery, atOnce: context.limits.generationsAtOnce, signal: context.signal };
  return body.stream === true ? stream(context, body, kind, run) : answer(body, kind, run);
}

async function answer(body: DeliveryFields, kind: ResponseKind, run: Run): Promise<string> {
  const { outputs, model, choices } = run;
  const head = makeHead(kind.idPrefix, kind.whole, model.id);
  const finished = await runGenerations({
    ...run,
    onEvent: async (choice, event) => void (await must(outputs[choice], "choice").take(event)),
  });
  const messages = outputs.map((output) => output.message());
  return writeResponse(head, messages, { usage: describeUsage(finished, choices), ...timingsOf(body, finished) });
}

async function stream(context: RequestContext, body: DeliveryFields, kind: ResponseKind, run: Run): Promise<undefined> {
  const { outputs, model, requests, choices } = run;
  const head = makeHead(kind.idPrefix, kind.chunk, model.id);
  const withUsage = wantsUsageChunk(body);
  const noUsage = withUsage ? { usage: null } : {};
  const events = context.startStream();
  const finished = await runGenerations({
    ...run,
    onEvent: async (choice, event) => {
      if (event.type === "started") events.open();
      for (const piece of await must(outputs[choice], "choice").take(event)) {
        const promptTokens = must(requests[choice], "request").prompt.length;
        const isLast = event.type === "done" && piece.finish_reason !== null;
        const timings = isLast ? timingsOf(body, [{ promptTokens, done: event }]) : {};
        await events.send({ ...head, choices: [piece], ...noUsage, ...timings });
      }
    },
  });
  if (withUsage) await events.send({ ...head, choices: [], usage: describeUsage(finished, choices) });
  await events.send("[DONE]");
  events.end();
}

function timingsOf(body: DeliveryFields, finished: readonly Finished[]): object {
  return body.timings === false ? {} : { timings: describeTimings(finished) };
}
