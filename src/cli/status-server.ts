import { createServer, type Server, type ServerResponse } from "node:http";
import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";

/** The cluster's state over HTTP: `GET /v1/status` (noodle.status.v1) and `GET /health` (200 when ready, otherwise 503). */
export class StatusServer {
  readonly #server: Server;
  readonly #host: string;

  private constructor(server: Server, host: string) {
    this.#server = server;
    this.#host = host;
  }

  /**
   * @param port 0 = any free one
   * @param readStatus undefined while the coordinator is being started
   * @throws NoodleError `PORT_IN_USE`
   */
  static async start(host: string, port: number, readStatus: () => StatusDocument | undefined): Promise<StatusServer> {
    const server = createServer((request, response) => {
      const path = (request.url ?? "/").split("?")[0];
      if (request.method !== "GET" && request.method !== "HEAD") send(response, 405, { error: "only GET" });
      else if (path !== "/v1/status" && path !== "/health") send(response, 404, { error: "not found", paths: ["/health", "/v1/status"] });
      else {
        const status = readStatus();
        const health = status?.health ?? { status: "waiting", reason: "the coordinator is being started", error: null };
        if (path === "/v1/status" && status !== undefined) send(response, 200, status);
        else send(response, health.status === "ready" ? 200 : 503, health);
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => {
        const text = error.code === "EADDRINUSE" ? `HTTP port ${port} on ${host} is in use (--port)` : error.message;
        reject(new NoodleError(error.code === "EADDRINUSE" ? "PORT_IN_USE" : "USAGE", text, { cause: error }));
      });
      server.listen(port, host, resolve);
    });
    return new StatusServer(server, host);
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
