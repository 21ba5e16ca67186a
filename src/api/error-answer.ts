import { NoodleError } from "../common/index.ts";
import { HttpFault } from "./http-fault.ts";

/** The body that OpenAI's clients read. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    /** The field that is wrong; null where it is none of them. */
    readonly param: string | null;
    readonly code: string;
  };
}

export interface ErrorAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: ErrorBody;
}

/** Names that clients look for; all others are ours in lower case. */
const CLIENT_CODES: Readonly<Record<string, string>> = {
  CONTEXT_EXCEEDED: "context_length_exceeded",
  QUEUE_FULL: "rate_limit_exceeded",
};
const RETRY_AFTER_MS = 1000;
const UNAVAILABLE_RETRY_AFTER_MS = 2000;

/**
 * What a client is told of whatever was thrown: OpenAI's error object, the status of the code's row, and whether trying
 * again can help. Errors that are nobody's fault but ours carry their message too: it never holds a prompt.
 */
export function describeError(thrown: unknown): ErrorAnswer {
  if (thrown instanceof HttpFault) {
    const headers = thrown.status >= 500 ? { "retry-after": "1", ...thrown.headers } : thrown.headers;
    return { status: thrown.status, headers, body: makeBody(thrown.message, thrown.status, null, thrown.code) };
  }
  const error = NoodleError.from(thrown);
  const { http: status, retryable, cure } = error.row;
  const param = typeof error.details["param"] === "string" ? error.details["param"] : null;
  const code = CLIENT_CODES[error.code] ?? error.code.toLowerCase();
  const message = status < 500 ? `${error.message} (${cure})` : error.message;
  return { status, headers: retryHeaders(error, status, retryable), body: makeBody(message, status, param, code) };
}

function retryHeaders(error: NoodleError, status: number, retryable: boolean): Record<string, string> {
  if (!retryable) return { "x-should-retry": "false" };
  if (status !== 429 && status !== 503) return {};
  const told = error.details["retryAfterMs"];
  const waitMs =
    typeof told === "number" && told >= 0 ? told : status === 429 ? RETRY_AFTER_MS : UNAVAILABLE_RETRY_AFTER_MS;
  return { "retry-after": String(Math.max(1, Math.ceil(waitMs / 1000))), "retry-after-ms": String(Math.ceil(waitMs)) };
}

function makeBody(message: string, status: number, param: string | null, code: string): ErrorBody {
  return { error: { message, type: typeOf(status), param, code } };
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 404) return "not_found_error";
  if (status === 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}
