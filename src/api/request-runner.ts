import type { FastifyReply, FastifyRequest } from "fastify";
import { describeError } from "./error-answer.ts";
import { giveTurn } from "./give-turn.ts";
import type { RequestContext, WorkContext } from "./request-context.ts";
import type { LiveGeneration } from "./live/index.ts";
import type { Route, RouteAnswer, ServerViews } from "./routes.ts";
import { SseStream } from "./sse-stream.ts";

export const JSON_TYPE = "application/json; charset=utf-8";
const CLOSE_POLL_MS = 20;

type RunnerParts = Omit<WorkContext, "client"> &
  Pick<RequestContext, "live" | "replies"> & {
    readonly findGeneration: (id: string, client: string) => LiveGeneration;
  };

interface RouteRequest {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** Whose request it is. */
  readonly client: string;
  readonly server: ServerViews;
}

/** Runs the handlers of routes, each with a signal that says when its client is gone, and writes what they answer. */
export class RequestRunner {
  readonly #parts: RunnerParts;
  /** Of requests that are being answered. */
  readonly #running = new Set<AbortController>();

  constructor(parts: RunnerParts) {
    this.#parts = parts;
  }

  async answer(route: Route, { request, reply, client, server }: RouteRequest): Promise<void> {
    const stop = new AbortController();
    let stream: SseStream | undefined;
    this.#running.add(stop);
    reply.raw.once("finish", () => this.#running.delete(stop));
    reply.raw.once("close", () => {
      this.#running.delete(stop);
      // A reader that was dropped for being slow has not cancelled anything.
      if (!reply.raw.writableFinished && stream?.isDropped !== true) stop.abort();
    });
    const startStream = (): SseStream => {
      stream = this.#startStream(reply);
      return stream;
    };
    const context: RequestContext = {
      ...this.#parts,
      signal: stop.signal,
      client,
      key: readHeader(request, "idempotency-key"),
      lastEventId: readHeader(request, "last-event-id"),
      findGeneration: (id) => this.#parts.findGeneration(id, client),
      startStream,
    };
    const { body, query } = request;
    const params = request.params as Readonly<Record<string, string>>;
    let answer: RouteAnswer;
    try {
      answer = await route.answer({ context, server, body, query, params });
    } catch (error) {
      if (stream?.isOpen !== true) throw error;
      await stream.write(`data: ${JSON.stringify(describeError(error).body)}\n\ndata: [DONE]\n\n`);
      return;
    } finally {
      stream?.end();
    }
    if (answer.body === undefined) return;
    if (answer.status === 204) {
      void reply.code(204).send();
      return;
    }
    const headers = { "content-type": answer.contentType ?? JSON_TYPE, "cache-control": "no-store", ...answer.headers };
    void reply
      .code(answer.status ?? 200)
      .headers(headers)
      .send(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
  }

  /** Lets what runs go on for a while, then cancels the rest. */
  async end(graceMs: number): Promise<void> {
    const deadlineMs = performance.now() + graceMs;
    while (this.#running.size + this.#parts.live.runningAlone > 0 && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_POLL_MS));
    }
    for (const stop of this.#running) stop.abort();
    this.#parts.live.close();
    // Those that were cancelled are told so, before their connections end.
    await giveTurn();
  }

  #startStream(reply: FastifyReply): SseStream {
    return new SseStream(reply.raw, {
      ...this.#parts.limits,
      takeOver: () => {
        reply.hijack();
        return reply.getHeaders();
      },
    });
  }
}

function readHeader(request: FastifyRequest, name: string): string | null {
  const value = request.headers[name];
  return typeof value === "string" && value !== "" ? value : null;
}
