import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { type HttpAnswer, HttpServer } from "./http-server.ts";
import { type MetricsSource, routeMetrics } from "./metrics-server.ts";

/**
 * The cluster's state over HTTP: `GET /v1/status` (noodle.status.v1), `GET /health` (200 when ready, otherwise 503) and,
 * where there are some, `GET /metrics`. It listens before there is a cluster, so that a port that is taken is known
 * before weights are read.
 */
export class StatusServer {
  readonly #http: HttpServer;
  #readStatus: () => StatusDocument | undefined = () => undefined;

  private constructor(http: HttpServer) {
    this.#http = http;
    http.route("/health", () => this.#answerHealth());
    http.route("/v1/status", () => this.#answerStatus());
  }

  /** @param port 0 = any free one. @throws NoodleError `PORT_IN_USE`, `USAGE` for an address that is not this machine's */
  static async start(host: string, port: number): Promise<StatusServer> {
    return new StatusServer(await HttpServer.start(host, port, "--port"));
  }

  /** From now on the status is that of a cluster. */
  show(readStatus: () => StatusDocument): void {
    this.#readStatus = readStatus;
  }

  /** From now on there is `/metrics`. */
  showMetrics(source: MetricsSource): void {
    routeMetrics(this.#http, source);
  }

  /** host:port */
  get address(): string {
    return this.#http.address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  close(): Promise<void> {
    return this.#http.close();
  }

  #answerHealth(): HttpAnswer {
    const health = this.#readStatus()?.health ?? STARTING;
    return { status: health.status === "ready" ? 200 : 503, body: health };
  }

  #answerStatus(): HttpAnswer {
    const status = this.#readStatus();
    return status === undefined ? { status: 503, body: STARTING } : { status: 200, body: status };
  }
}

const STARTING = { status: "waiting", reason: "the coordinator is being started", error: null } as const;
