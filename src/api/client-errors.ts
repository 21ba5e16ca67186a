import type { Socket } from "node:net";
import { NoodleError } from "../common/index.ts";
import { describeError } from "./error-answer.ts";
import { HttpFault } from "./http-fault.ts";
import type { ApiLimits } from "./limits.ts";

/** What the HTTP library refuses by itself, in our words. */
export function translateFrameworkError(thrown: unknown, limits: ApiLimits): Error {
  if (thrown instanceof NoodleError || thrown instanceof HttpFault) return thrown;
  if (!(thrown instanceof Error)) return NoodleError.from(thrown);
  const { code, statusCode } = thrown as { readonly code?: unknown; readonly statusCode?: unknown };
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE") {
    return new NoodleError("BODY_TOO_LARGE", `the body has more than ${limits.bodyBytes} bytes, which is the limit`, {
      details: { limit: limits.bodyBytes },
    });
  }
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    return new HttpFault("unsupported_media_type", "the body must be JSON, with content-type: application/json");
  }
  const isClients = typeof statusCode === "number" && statusCode >= 400 && statusCode < 500;
  return isClients ? new HttpFault("malformed_http", thrown.message) : NoodleError.from(thrown);
}

/** Answers a connection whose bytes never became a request. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket, limits: ApiLimits): void {
  if (error.code === "ECONNRESET" || socket.destroyed) return;
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const { status, body } = describeError(nameClientError(error, limits));
  const text = `${JSON.stringify(body)}\n`;
  socket.end(
    `HTTP/1.1 ${status} ${REASONS[status] ?? "Bad Request"}\r\ncontent-type: application/json; charset=utf-8\r\n` +
      `content-length: ${Buffer.byteLength(text)}\r\nconnection: close\r\n\r\n${text}`,
  );
}

const REASONS: Readonly<Record<number, string>> = {
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

function nameClientError(error: NodeJS.ErrnoException, limits: ApiLimits): HttpFault {
  if (error.code === "HPE_HEADER_OVERFLOW") {
    return new HttpFault("headers_too_large", `the headers have more than ${limits.headerBytes} bytes`);
  }
  if (error.code === "ERR_HTTP_REQUEST_TIMEOUT") {
    const { headersTimeoutMs, requestTimeoutMs } = limits;
    const text = `the request did not come in time: ${headersTimeoutMs} ms for its headers, ${requestTimeoutMs} ms in all`;
    return new HttpFault("request_timeout", text);
  }
  return new HttpFault("malformed_http", `no HTTP request: ${error.code ?? "unreadable"}`);
}
