import { HttpServer } from "./http-server.ts";

/** Whoever counts: `CoordinatorMetrics` or `WorkerMetrics`. */
export interface MetricsSource {
  readonly contentType: string;
  render(): Promise<string>;
}

/** Adds `GET /metrics` in Prometheus' text format. */
export function routeMetrics(http: HttpServer, source: MetricsSource): void {
  http.route("/metrics", async () => ({ status: 200, body: await source.render(), contentType: source.contentType }));
}

/**
 * A worker's HTTP port: `GET /metrics`, and `GET /health` which says that the supervisor is alive.
 *
 * @param port 0 = any free one
 * @throws NoodleError `PORT_IN_USE`, `USAGE`
 */
export async function startMetricsServer(host: string, port: number, source: MetricsSource): Promise<HttpServer> {
  const http = await HttpServer.start(host, port, "--metrics-port");
  http.route("/health", () => ({ status: 200, body: { status: "alive" } }));
  routeMetrics(http, source);
  return http;
}
