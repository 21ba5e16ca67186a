import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { NoodleError } from "../common/index.ts";
import type { ApiMetricsSource, ApiServerOptions } from "./api-options.ts";
import { CompileThread } from "./compile-thread.ts";
import { createApp } from "./create-app.ts";
import { describeError } from "./error-answer.ts";
import { giveTurn } from "./give-turn.ts";
import { checkHeaders, checkHost, KeyRing } from "./guards.ts";
import { HttpFault } from "./http-fault.ts";
import { type ApiLimits, compileLimits } from "./limits.ts";
import { ModelRegistry } from "./model-registry.ts";
import { buildOpenApi } from "./openapi.ts";
import { describePagePolicy } from "./page-policy.ts";
import type { RequestContext } from "./request-context.ts";
import { buildRoutes, type Route, type RouteAnswer, type ServerViews } from "./routes.ts";
import type { Readiness, ServedModel } from "./served-model.ts";
import { SseStream } from "./sse-stream.ts";

const JSON_TYPE = "application/json; charset=utf-8";
const CORS_HEADERS = {
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, x-api-key, x-request-id, x-stainless-*",
  "access-control-max-age": "600",
};

/** @throws USAGE for limits that are none, or two models of one id */
export function createApiServer(options: ApiServerOptions = {}): ApiServer {
  return new ApiServer(options);
}

/**
 * The HTTP API. It can listen before there is a model, so that a port that is taken is known before weights are read;
 * until then requests are answered by CLUSTER_NOT_READY.
 */
export class ApiServer {
  readonly #app: FastifyInstance;
  readonly #limits: ApiLimits;
  readonly #registry = new ModelRegistry();
  readonly #keys: KeyRing;
  readonly #compiler: CompileThread;
  readonly #routes: readonly Route[];
  readonly #views: ServerViews;
  readonly #allowedHosts: readonly string[];
  readonly #corsOrigins: readonly string[];
  /** Of requests that are being answered. */
  readonly #running = new Set<AbortController>();
  readonly #clients = new WeakMap<FastifyRequest, string>();
  #connections = 0;
  #metrics: ApiMetricsSource | undefined;
  #closing: Promise<void> | null = null;

  constructor(options: ApiServerOptions) {
    this.#limits = compileLimits(options.limits);
    this.#compiler = new CompileThread(this.#limits.compileMs);
    this.#registry.serve(options.models ?? []);
    this.#keys = new KeyRing(options.apiKeys ?? []);
    this.#allowedHosts = (options.allowedHosts ?? []).map((name) => name.toLowerCase());
    this.#corsOrigins = options.corsOrigins ?? [];
    this.#routes = buildRoutes(this.#limits);
    const page = options.page ?? null;
    this.#views = {
      readiness: () => this.#readiness(),
      readStatus: (model) => this.#readStatus(model),
      readMetrics: () => this.#readMetrics(),
      page: page === null ? null : { html: page, policy: describePagePolicy(page) },
      document: buildOpenApi(this.#routes, options.version ?? "0.0.0"),
    };
    this.#app = this.#build();
  }

  /** For tests, and for whoever adds what is no part of the API. Routes can be added until it listens. */
  get app(): FastifyInstance {
    return this.#app;
  }

  /** `http://host:port`, once it listens. */
  get url(): string {
    const bound = this.#app.server.address();
    if (typeof bound !== "object" || bound === null)
      throw new NoodleError("ILLEGAL_STATE", "the server does not listen");
    return `http://${bound.address.includes(":") ? `[${bound.address}]` : bound.address}:${bound.port}`;
  }

  /** From now on these are the models. @throws USAGE for two of one id */
  serve(models: readonly ServedModel[]): void {
    this.#registry.serve(models);
  }

  /** From now on there is `/metrics`. */
  showMetrics(source: ApiMetricsSource): void {
    this.#metrics = source;
  }

  /** @param port 0 = any free one. @throws PORT_IN_USE, USAGE for an address that is not this machine's */
  async listen(host: string, port: number): Promise<void> {
    try {
      await this.#app.listen({ host, port });
    } catch (cause) {
      const isTaken = cause instanceof Error && (cause as NodeJS.ErrnoException).code === "EADDRINUSE";
      const text = isTaken ? `HTTP port ${port} on ${host} is in use (--port)` : NoodleError.from(cause).message;
      throw new NoodleError(isTaken ? "PORT_IN_USE" : "USAGE", text, { cause });
    }
  }

  /**
   * Takes no more requests, lets those that run go on for a while, cancels what is left, and stops. Closing twice is safe.
   *
   * @param graceMs how long a running request may take to its end. @default 0
   */
  close(graceMs = 0): Promise<void> {
    this.#closing ??= this.#close(graceMs);
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(graceMs: number): Promise<void> {
    const deadlineMs = performance.now() + graceMs;
    while (this.#running.size > 0 && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_POLL_MS));
    }
    for (const stop of this.#running) stop.abort();
    // Those that were cancelled are told so, before their connections end.
    await giveTurn();
    this.#compiler.close();
    await this.#app.close();
  }

  #build(): FastifyInstance {
    const limits = this.#limits;
    const app = createApp(limits, (reply, error) => void this.#answerError(reply, error));
    app.server.on("connection", (socket: Socket) => {
      this.#connections += 1;
      socket.once("close", () => {
        this.#connections -= 1;
      });
    });
    app.addHook("onRequest", async (request, reply) => this.#guard(request, reply));
    app.setNotFoundHandler((request, reply) => this.#answerNotFound(request, reply));
    for (const route of this.#routes) this.#register(app, route);
    return app;
  }

  #register(app: FastifyInstance, route: Route): void {
    app.route({
      method: route.method,
      url: route.path.replace(/\{(\w+)\}/g, ":$1"),
      // Before the body is read: who may not ask, may not send either.
      onRequest: async (request) => {
        if (route.isOpen !== true) this.#clients.set(request, this.#keys.identify(request.raw));
      },
      handler: (request, reply) => this.#answer(route, request, reply),
    });
  }

  #guard(request: FastifyRequest, reply: FastifyReply): void {
    void reply.header("x-request-id", request.id);
    void reply.header("x-content-type-options", "nosniff");
    this.#allowOrigin(request, reply);
    if (this.#connections > this.#limits.connections) {
      void reply.header("connection", "close");
      const text = `${this.#connections} connections are open, the limit is ${this.#limits.connections}`;
      throw new HttpFault("too_many_connections", text);
    }
    checkHeaders(request.raw, this.#limits);
    checkHost(request.raw, this.#allowedHosts);
  }

  #allowOrigin(request: FastifyRequest, reply: FastifyReply): void {
    const { origin } = request.headers;
    if (origin === undefined) return;
    if (!this.#corsOrigins.includes("*") && !this.#corsOrigins.includes(origin)) return;
    void reply.headers({ "access-control-allow-origin": origin, vary: "origin" });
  }

  async #answer(route: Route, request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const stop = new AbortController();
    let stream: SseStream | undefined;
    this.#running.add(stop);
    reply.raw.once("finish", () => this.#running.delete(stop));
    reply.raw.once("close", () => {
      this.#running.delete(stop);
      // A reader that was dropped for being slow has not cancelled anything.
      if (!reply.raw.writableFinished && stream?.isDropped !== true) stop.abort();
    });
    const context: RequestContext = {
      registry: this.#registry,
      limits: this.#limits,
      compiler: this.#compiler,
      signal: stop.signal,
      client: this.#clients.get(request) ?? "",
      startStream: () => {
        stream = this.#startStream(reply);
        return stream;
      },
    };
    const { body, query } = request;
    const params = request.params as Readonly<Record<string, string>>;
    let answer: RouteAnswer;
    try {
      answer = await route.answer({ context, server: this.#views, body, query, params });
    } catch (error) {
      if (stream?.isOpen !== true) throw error;
      await stream.send(describeError(error).body);
      await stream.send("[DONE]");
      return;
    } finally {
      stream?.end();
    }
    if (answer.body === undefined) return;
    const headers = { "content-type": answer.contentType ?? JSON_TYPE, "cache-control": "no-store", ...answer.headers };
    void reply
      .code(answer.status ?? 200)
      .headers(headers)
      .send(typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body));
  }

  #startStream(reply: FastifyReply): SseStream {
    return new SseStream(reply.raw, {
      ...this.#limits,
      takeOver: () => {
        reply.hijack();
        return reply.getHeaders();
      },
    });
  }

  #answerError(reply: FastifyReply, error: unknown): FastifyReply {
    const { status, headers, body } = describeError(error);
    return reply
      .code(status)
      .headers({ "content-type": JSON_TYPE, "cache-control": "no-store", ...headers })
      .send(JSON.stringify(body));
  }

  #answerNotFound(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const path = request.url.split("?")[0] ?? "";
    if (request.method === "OPTIONS" && reply.hasHeader("access-control-allow-origin")) {
      return reply.code(204).headers(CORS_HEADERS).send();
    }
    const methods = this.#routes.filter((route) => this.#app.hasRoute({ method: route.method, url: path }));
    const here = methods.filter((route) => route.path === path).map((route) => route.method);
    if (here.length === 0) {
      return this.#answerError(reply, new HttpFault("route_not_found", `there is no ${path.slice(0, 200)} here`));
    }
    const allow = here.includes("GET") ? [...here, "HEAD"] : here;
    const fault = new HttpFault("method_not_allowed", `${path} takes ${allow.join(", ")}`, { allow: allow.join(", ") });
    return this.#answerError(reply, fault);
  }

  /** One model that takes requests is enough to be ready. */
  #readiness(): Readiness {
    const all = this.#registry.models.map((model) => model.readiness());
    const ready = all.find(({ status }) => status === "ready");
    return ready ?? all[0] ?? { status: "waiting", reason: "the coordinator is being started" };
  }

  #readStatus(id: string | undefined): object | undefined {
    const [first] = this.#registry.models;
    if (id === undefined) return first?.status();
    return this.#registry.find(id).model.status();
  }

  #readMetrics(): Promise<{ readonly contentType: string; readonly text: string }> | undefined {
    const source = this.#metrics;
    return source?.render().then((text) => ({ contentType: source.contentType, text }));
  }
}

const CLOSE_POLL_MS = 20;
