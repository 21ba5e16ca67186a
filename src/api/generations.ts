import type { GenerateEvent, GenerateRequest } from "../cluster/coordinator/index.ts";
import { must, NoodleError } from "../common/index.ts";
import type { ServedModel } from "./served-model.ts";
import type { DoneEvent, Finished } from "./timings.ts";

export interface GenerationsRequest {
  readonly model: ServedModel;
  /** One for each choice: those of the first prompt, those of the second, ... */
  readonly requests: readonly GenerateRequest[];
  /** By choice: the session of the last coordinator that it goes on with. @default none does */
  readonly resumed?: ReadonlyMap<number, string>;
  /** Choices of each prompt. */
  readonly choices: number;
  /** Generations that run at once. */
  readonly atOnce: number;
  /** The client is gone, or the server stops. */
  readonly signal: AbortSignal;
  /** Called in order for each choice; the generation is held back until it has settled. */
  readonly onEvent: (choice: number, event: GenerateEvent) => Promise<void> | void;
}

/**
 * Runs the generations of one request. The first choice of a prompt goes ahead until its first token: its siblings then
 * start with what it has computed. The first error ends all of them.
 *
 * @returns in the order of the requests
 */
export async function runGenerations(request: GenerationsRequest): Promise<readonly Finished[]> {
  const { requests, choices, onEvent } = request;
  const stop = new AbortController();
  const signal = AbortSignal.any([request.signal, stop.signal]);
  const turnstile = new Turnstile(request.atOnce);
  const primed = requests.map(() => new Gate());
  const run = async (choice: number): Promise<Finished> => {
    const gate = must(primed[choice - (choice % choices)], "gate");
    if (choice % choices !== 0) await gate.opened;
    await turnstile.enter();
    try {
      return await runOne(openEvents(request, choice, signal), async (event) => {
        if (event.type === "token" || event.type === "done") gate.open();
        await onEvent(choice, event);
      });
    } catch (error) {
      stop.abort();
      throw error;
    } finally {
      gate.open();
      turnstile.leave();
    }
  };
  const settled = await Promise.allSettled(requests.map((_, choice) => run(choice)));
  const failures = settled
    .filter((outcome) => outcome.status === "rejected")
    .map((outcome) => outcome.reason as unknown);
  // What the first failure interrupted says less than it does.
  const cause = failures.find((failure) => NoodleError.from(failure).code !== "INTERRUPTED") ?? failures[0];
  if (cause !== undefined) throw NoodleError.from(cause);
  return settled.map((outcome) => (outcome as PromiseFulfilledResult<Finished>).value);
}

function openEvents(
  { model, requests, resumed }: GenerationsRequest,
  choice: number,
  signal: AbortSignal,
): AsyncIterable<GenerateEvent> {
  if (signal.aborted) throw new NoodleError("INTERRUPTED", "the generation was cancelled");
  const sessionId = resumed?.get(choice);
  if (sessionId !== undefined && model.resume !== undefined) return model.resume(sessionId, signal);
  return model.generate(must(requests[choice], "request"), signal);
}

async function runOne(
  events: AsyncIterable<GenerateEvent>,
  onEvent: (event: GenerateEvent) => Promise<void>,
): Promise<Finished> {
  let promptTokens = 0;
  let done: DoneEvent | undefined;
  for await (const event of events) {
    if (event.type === "started") promptTokens = event.promptTokenIds.length;
    if (event.type === "done") done = event;
    await onEvent(event);
  }
  return { promptTokens, done: must(done, "end of the generation") };
}

/** Lets so many in at once, in order of arrival. */
class Turnstile {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  enter(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}

/** Opens once. */
class Gate {
  readonly opened: Promise<void>;
  #open: (() => void) | undefined;

  constructor() {
    this.opened = new Promise((resolve) => {
      this.#open = resolve;
    });
  }

  open(): void {
    this.#open?.();
  }
}
