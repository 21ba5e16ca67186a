import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { NoodleError } from "../common/index.ts";

/** What a path answers: an object becomes JSON, a text is sent as it is. */
export interface HttpAnswer {
  readonly status: number;
  readonly body: object | string;
  /** @default JSON */
  readonly contentType?: string;
}

export type HttpHandler = () => HttpAnswer | Promise<HttpAnswer>;

const JSON_TYPE = "application/json; charset=utf-8";
/** Status and metrics are read by a few programs; a thousand connections are a mistake. */
const MAX_CONNECTIONS = 256;

/** A small HTTP server of things to read: fixed paths, GET and HEAD alone. */
export class HttpServer {
  readonly #server: Server;
  readonly #host: string;
  readonly #handlers = new Map<string, HttpHandler>();

  private constructor(host: string) {
    this.#host = host;
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /**
   * @param port 0 = any free one
   * @param option the one that sets the port, for the message
   * @throws NoodleError `PORT_IN_USE`, `USAGE` for an address that is not this machine's
   */
  static async start(host: string, port: number, option: string): Promise<HttpServer> {
    const http = new HttpServer(host);
    await new Promise<void>((resolve, reject) => {
      http.#server.once("error", (error: NodeJS.ErrnoException) => {
        const isTaken = error.code === "EADDRINUSE";
        const text = isTaken ? `HTTP port ${port} on ${host} is in use (${option})` : error.message;
        reject(new NoodleError(isTaken ? "PORT_IN_USE" : "USAGE", text, { cause: error }));
      });
      http.#server.listen(port, host, resolve);
    });
    return http;
  }

  /** From now on `path` is answered; a handler that was there before is replaced. */
  route(path: string, handler: HttpHandler): void {
    this.#handlers.set(path, handler);
  }

  /** host:port */
  get address(): string {
    const bound = this.#server.address();
    const port = typeof bound === "object" && bound !== null ? bound.port : 0;
    return this.#host.includes(":") ? `[${this.#host}]:${port}` : `${this.#host}:${port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = (request.url ?? "/").split("?")[0] ?? "/";
    const handler = this.#handlers.get(path);
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      send(response, { status: 405, body: { error: "only GET and HEAD" } });
    } else if (handler === undefined) {
      send(response, { status: 404, body: { error: "not found", paths: [...this.#handlers.keys()].sort() } });
    } else {
      send(response, await runHandler(handler));
    }
  }
}

/** A handler's error is answered as 500 with its code; it must not end the process that serves the model. */
async function runHandler(handler: HttpHandler): Promise<HttpAnswer> {
  try {
    return await handler();
  } catch (thrown) {
    const { code, message } = NoodleError.from(thrown);
    return { status: 500, body: { error: message, code } };
  }
}

/** Node leaves the body out where HEAD was asked; the length is told all the same. */
function send(response: ServerResponse, { status, body, contentType = JSON_TYPE }: HttpAnswer): void {
  const bytes = Buffer.from(typeof body === "string" ? body : `${JSON.stringify(body)}\n`);
  response.writeHead(status, {
    "content-type": contentType,
    "content-length": bytes.length,
    "cache-control": "no-store",
  });
  response.end(bytes);
}
