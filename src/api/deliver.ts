import type { GenerateEvent } from "../cluster/coordinator/index.ts";
import { must } from "../common/index.ts";
import { type GenerationsRequest, runGenerations } from "./generations.ts";
import type { GenerationIdentity, LiveStream } from "./live/index.ts";
import { makeHead, wantsUsageChunk, writeResponse } from "./request-context.ts";
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

/** What an endpoint makes of a request; how many run at once and what ends them is not its business. */
export type Preparation = Omit<GenerationsRequest, "onEvent" | "atOnce" | "signal"> & {
  readonly outputs: readonly ChoiceOutput[];
};
export type Delivery = Omit<GenerationsRequest, "onEvent"> & Preparation;
export type DeliveryFields = Pick<CompletionRequest, "model" | "stream" | "stream_options" | "timings">;

/** Runs the generations of one request. @returns the JSON of the response */
export async function deliverWhole(
  identity: GenerationIdentity,
  kind: ResponseKind,
  body: DeliveryFields,
  delivery: Delivery,
): Promise<string> {
  const { outputs, model, choices } = delivery;
  const finished = await runGenerations({
    ...delivery,
    onEvent: async (choice, event) => void (await must(outputs[choice], "choice").take(event)),
  });
  const messages = outputs.map((output) => output.message());
  const head = makeHead(identity, kind.whole, model.id);
  return writeResponse(head, messages, { usage: describeUsage(finished, choices), ...timingsOf(body, finished) });
}

/** Runs the generations of one request, and sends what they say as it comes. */
export async function deliverStream(
  identity: GenerationIdentity,
  kind: ResponseKind,
  body: DeliveryFields,
  delivery: Delivery,
  events: LiveStream,
): Promise<void> {
  const { outputs, model, requests, choices } = delivery;
  const head = makeHead(identity, kind.chunk, model.id);
  const withUsage = wantsUsageChunk(body);
  const noUsage = withUsage ? { usage: null } : {};
  const finished = await runGenerations({
    ...delivery,
    onEvent: async (choice, event) => {
      if (event.type === "started") events.begin(outputs.length);
      for (const piece of await must(outputs[choice], "choice").take(event)) {
        const promptTokens = must(requests[choice], "request").prompt.length;
        const isLast = event.type === "done" && piece.finish_reason !== null;
        const timings = isLast ? timingsOf(body, [{ promptTokens, done: event }]) : {};
        await events.send(choice, { ...head, choices: [piece], ...noUsage, ...timings });
      }
    },
  });
  // What stands behind all choices is counted with the first.
  if (withUsage) await events.send(0, { ...head, choices: [], usage: describeUsage(finished, choices) });
  await events.send(0, "[DONE]");
}

function timingsOf(body: DeliveryFields, finished: readonly Finished[]): object {
  return body.timings === false ? {} : { timings: describeTimings(finished) };
}
