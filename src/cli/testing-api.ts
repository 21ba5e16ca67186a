import { createServer, type IncomingMessage, type ServerResponse } from "node:http";

/** What a request brought. */
export interface FakeCall {
  readonly path: string;
  readonly key: string | undefined;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface FakeApi extends AsyncDisposable {
  readonly url: URL;
  /** Of all requests so far, those of GET included. */
  readonly calls: readonly FakeCall[];
  /** Requests that the client left before their answer was complete. */
  readonly left: () => number;
}

/** Answers a request; what it throws ends the connection without an answer. */
export type FakeHandler = (call: FakeCall, response: ServerResponse) => void | Promise<void>;

/** An HTTP server on a free port that answers as a test says. */
export async function startFakeApi(handler: FakeHandler): Promise<FakeApi> {
  const calls: FakeCall[] = [];
  let left = 0;
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    let text = "";
    request.setEncoding("utf8");
    response.on("close", () => {
      if (!response.writableFinished) left += 1;
    });
    try {
      for await (const piece of request) text += String(piece);
      const call: FakeCall = {
        path: request.url ?? "/",
        key: request.headers.authorization?.replace("Bearer ", ""),
        body: text === "" ? {} : (JSON.parse(text) as FakeCall["body"]),
      };
      calls.push(call);
      await handler(call, response);
    } catch {
      response.destroy();
    }
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : 0;
  return {
    url: new URL(`http://127.0.0.1:${port}/`),
    calls,
    left: () => left,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

export function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(JSON.stringify(body));
}

/** Begins a stream of events. */
export function openEvents(response: ServerResponse): void {
  response.writeHead(200, { "content-type": "text/event-stream" });
}

export function sendEvent(response: ServerResponse, data: object | "[DONE]"): void {
  response.write(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
}

/** An error in the shape of the API. */
export function describeError(code: string, message: string): object {
  return { error: { message, type: "invalid_request_error", param: null, code } };
}
