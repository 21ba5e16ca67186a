import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";

/**
 * The cluster's state over HTTP: `GET /v1/status` (noodle.status.v1) and `GET /health` (200 when ready, otherwise 503).
 * It listens before there is a cluster, so that a port that is taken is known before weights are read.
 */
export class StatusServer {
  readonly #server: Server;
  readonly #host: string;
  #readStatus: () => StatusDocument | undefined = () => undefined;

  private constructor(host: string) {
    this.#host = host;
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  /** @param port 0 = any free one. @throws NoodleError `PORT_IN_USE`, `USAGE` for an address that is not this machine's */
  static async start(host: string, port: number): Promise<StatusServer> {
    const status = new StatusServer(host);
    await new Promise<void>((resolve, reject) => {
      status.#server.once("error", (error: NodeJS.ErrnoException) => {
        const isTaken = error.code === "EADDRINUSE";
        const text = isTaken ? `HTTP port ${port} on ${host} is in use (--port)` : error.message;
        reject(new NoodleError(isTaken ? "PORT_IN_USE" : "USAGE", text, { cause: error }));
      });
      status.#server.listen(port, host, resolve);
    });
    return status;
  }

  /** From now on the status is that of a cluster. */
  show(readStatus: () => StatusDocument): void {
    this.#readStatus = readStatus;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = (request.url ?? "/").split("?")[0];
    const status = this.#readStatus();
    const health = status?.health ?? { status: "waiting", reason: "the coordinator is being started", error: null };
    if (request.method !== "GET" && request.method !== "HEAD") send(response, 405, { error: "only GET" });
    else if (path === "/v1/status" && status !== undefined) send(response, 200, status);
    else if (path === "/v1/status" || path === "/health") send(response, health.status === "ready" ? 200 : 503, health);
    else send(response, 404, { error: "not found", paths: ["/health", "/v1/status"] });
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
}

function send(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json; charset=utf-8", "cache-control": "no-store" });
  response.end(`${JSON.stringify(body)}\n`);
}
