import { Agent, type ClientRequest, type IncomingMessage, request } from "node:http";
import { Agent as TlsAgent, request as requestTls } from "node:https";
import { ERROR_CODES, type ErrorCode, NoodleError } from "../common/index.ts";
import { DEFAULT_HTTP_PORT } from "../protocol/index.ts";
import { formatHostPort, parseHostPort } from "./addresses.ts";
import { readServerEvents } from "./server-events.ts";

/** A whole answer. */
export interface ApiAnswer {
  readonly status: number;
  readonly requestId: string | null;
  /** How long the server asks to wait; null where it does not. */
  readonly retryAfterMs: number | null;
  /** What its JSON says. */
  readonly body: unknown;
}

/** What the API calls by the names that clients know. */
const CLIENT_CODES: Readonly<Record<string, ErrorCode>> = {
  context_length_exceeded: "CONTEXT_EXCEEDED",
  rate_limit_exceeded: "QUEUE_FULL",
};
const MAX_ANSWER_BYTES = 256 * 2 ** 20;

/** Reads an http(s) URL, `host:port`, or a host alone (then the default HTTP port). @throws USAGE naming `option` */
export function readApiUrl(text: string, option: string): URL {
  if (/^https?:\/\//i.test(text) && URL.canParse(text)) return new URL(text.endsWith("/") ? text : `${text}/`);
  return new URL(`http://${formatHostPort(parseHostPort(text, option, DEFAULT_HTTP_PORT))}/`);
}

/**
 * Calls the HTTP API. Node's own requests, since its `fetch` gives up when no answer begins within five minutes, and a
 * long answer that is not streamed begins when it is complete.
 */
export class ApiClient {
  readonly #base: URL;
  readonly #key: string | null;
  readonly #agent: Agent;

  /** @param base http or https; paths are appended to it */
  constructor(base: URL, key: string | null = null) {
    this.#base = base;
    this.#key = key;
    const options = { keepAlive: true };
    this.#agent = base.protocol === "https:" ? new TlsAgent(options) : new Agent(options);
  }

  /** host:port, as errors name it. */
  get host(): string {
    return this.#base.host;
  }

  /**
   * One request and its whole answer, whatever its status.
   *
   * @param path without a slash before it, such as `v1/models`
   * @param body sent as JSON; a text is sent as it is
   * @throws NoodleError `PEER_UNREACHABLE`, `PROTOCOL_MISMATCH`; the reason of `signal` when it is aborted
   */
  async call(method: "GET" | "POST", path: string, body: unknown, signal: AbortSignal): Promise<ApiAnswer> {
    const response = await this.#send(method, path, body, signal);
    const bytes = await this.#guard(signal, () => readWhole(response));
    return {
      status: response.statusCode ?? 0,
      requestId: response.headers["x-request-id"]?.toString() ?? null,
      retryAfterMs: readRetryAfter(response),
      body: parseJson(bytes.toString("utf8"), this.host),
    };
  }

  /** As `call`, but only a good answer's body. @throws also the error of the answer, see `toApiError` */
  async ask(method: "GET" | "POST", path: string, body: unknown, signal: AbortSignal): Promise<unknown> {
    const answer = await this.call(method, path, body, signal);
    if (answer.status !== 200) throw toApiError(answer);
    return answer.body;
  }

  /**
   * The chunks of a streamed answer, up to its end mark. Leaving the iteration ends the request.
   *
   * @throws as `ask`; PEER_UNREACHABLE when it ends without the mark
   */
  async *stream(path: string, body: object, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const response = await this.#send("POST", path, { ...body, stream: true }, signal);
    try {
      if (response.statusCode !== 200) {
        const bytes = await this.#guard(signal, () => readWhole(response));
        throw toApiError({
          status: response.statusCode ?? 0,
          body: parseJson(bytes.toString("utf8"), this.host),
        });
      }
      const events = readServerEvents(response)[Symbol.asyncIterator]();
      for (;;) {
        const event = await this.#guard(signal, () => events.next());
        if (event.done === true) throw new NoodleError("PEER_UNREACHABLE", `${this.host} broke off its answer`);
        if (event.value === "[DONE]") return;
        const chunk = parseJson(event.value, this.host);
        if (isObject(chunk) && isObject(chunk["error"])) throw toApiError({ status: 500, body: chunk });
        yield chunk;
      }
    } finally {
      response.destroy();
    }
  }

  /** Gives its connections back. */
  close(): void {
    this.#agent.destroy();
  }

  #send(method: "GET" | "POST", path: string, body: unknown, signal: AbortSignal): Promise<IncomingMessage> {
    const url = new URL(path, this.#base);
    const text = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
    const open = url.protocol === "https:" ? requestTls : request;
    return this.#guard(signal, () => {
      signal.throwIfAborted();
      return new Promise<IncomingMessage>((resolve, reject) => {
        const sent: ClientRequest = open(url, {
          method,
          agent: this.#agent,
          signal,
          headers: {
            accept: "application/json, text/event-stream",
            ...(this.#key === null ? {} : { authorization: `Bearer ${this.#key}` }),
            ...(text === undefined
              ? {}
              : { "content-type": "application/json", "content-length": Buffer.byteLength(text) }),
          },
        });
        sent.once("response", resolve);
        // It stays: an abort behind the answer's beginning comes here as well.
        sent.on("error", (error: NodeJS.ErrnoException) => {
          // A kept connection that the server closed at this moment says nothing about the server.
          if (sent.reusedSocket && error.code === "ECONNRESET") resolve(this.#send(method, path, body, signal));
          else reject(error);
        });
        sent.end(text);
      });
    });
  }

  /** Errors of the connection in our own terms. */
  async #guard<T>(signal: AbortSignal, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof NoodleError) throw error;
      if (signal.aborted) throw signal.reason;
      const code = error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? "") : "";
      if (code.startsWith("HPE_")) {
        const hint = `is it the gRPC port? The API has the HTTP port, ${DEFAULT_HTTP_PORT} unless said otherwise`;
        throw new NoodleError("PROTOCOL_MISMATCH", `${this.host} does not speak HTTP: ${hint}`, { cause: error });
      }
      const why = error instanceof Error && error.message !== "" ? error.message : code;
      throw new NoodleError("PEER_UNREACHABLE", `no answer from ${this.host}: ${why}`, { cause: error });
    }
  }
}

/** The error that an answer with another status than 200 stands for. */
export function toApiError({ status, body }: Pick<ApiAnswer, "status" | "body">): NoodleError {
  const error = isObject(body) && isObject(body["error"]) ? body["error"] : {};
  const message = typeof error["message"] === "string" ? error["message"] : `the API answered with status ${status}`;
  const named = typeof error["code"] === "string" ? error["code"] : "";
  const ours = CLIENT_CODES[named] ?? named.toUpperCase();
  const code = Object.hasOwn(ERROR_CODES, ours) ? (ours as ErrorCode) : codeOfStatus(status);
  return new NoodleError(code, rephrase(message, named, code), { details: { status } });
}

/** The API's words for somebody at a command line, who is told the cure of a code anyway. */
function rephrase(message: string, named: string, code: ErrorCode): string {
  if (named === "invalid_api_key") return "the API wants a valid key (NOODLE_API_KEY or --api-key-file)";
  const cure = ` (${ERROR_CODES[code].cure})`;
  return message.endsWith(cure) ? message.slice(0, -cure.length) : message;
}

/** The fields of a JSON object, nothing known of them yet. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function codeOfStatus(status: number): ErrorCode {
  if (status === 401 || status === 403) return "USAGE";
  if (status === 404) return "MODEL_NOT_FOUND";
  if (status === 413) return "BODY_TOO_LARGE";
  if (status === 429) return "QUEUE_FULL";
  if (status === 503) return "CLUSTER_NOT_READY";
  if (status === 504) return "DEADLINE_EXCEEDED";
  return status >= 500 ? "INTERNAL" : "REQUEST_INVALID";
}

function readRetryAfter({ headers }: IncomingMessage): number | null {
  const ms = Number(headers["retry-after-ms"] ?? Number.NaN);
  if (ms >= 0) return ms;
  const seconds = Number(headers["retry-after"] ?? Number.NaN);
  return seconds >= 0 ? seconds * 1000 : null;
}

async function readWhole(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) {
      throw new NoodleError("PROTOCOL_MISMATCH", `an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function parseJson(text: string, host: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new NoodleError("PROTOCOL_MISMATCH", `${host} answered with something that is not JSON`, { cause: error });
  }
}
