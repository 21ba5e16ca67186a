import type { Socket } from "node:net";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { NoodleError } from "../common/index.ts";
import type { ApiMetricsSource, ApiServerOptions } from "./api-options.ts";
import { CompileThread } from "./compile-thread.ts";
import { createApp } from "./create-app.ts";
import { describeError } from "./error-answer.ts";
import { answerPreflight, CrossOrigins } from "./cross-origins.ts";
import { checkHeaders, checkHost, KeyRing } from "./guards.ts";
import { HttpFault } from "./http-fault.ts";
import { type ApiLimits, compileLimits } from "./limits.ts";
import { type LiveGeneration, LiveGenerations, MemoryReplyBook, type ReplyBook } from "./live/index.ts";
import { ModelRegistry } from "./model-registry.ts";
import { buildOpenApi } from "./openapi.ts";
import { ProcessViews } from "./process-views.ts";
import type { WorkContext } from "./request-context.ts";
import { JSON_TYPE, RequestRunner } from "./request-runner.ts";
import { restoreGenerations } from "./restore-generations.ts";
import { buildRestoring } from "./restoring-endpoints.ts";
import { buildRoutes, type Route } from "./routes.ts";
import type { ServedModel } from "./served-model.ts";

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
  readonly #tls: ApiServerOptions["tls"] | null;
  readonly #registry = new ModelRegistry();
  readonly #keys: KeyRing;
  readonly #live: LiveGenerations;
  readonly #replies: ReplyBook = new MemoryReplyBook(() => performance.now());
  readonly #compiler: CompileThread;
  readonly #renderer: CompileThread;
  readonly #routes: readonly Route[];
  readonly #views: ProcessViews;
  readonly #runner: RequestRunner;
  readonly #allowedHosts: readonly string[];
  readonly #origins: CrossOrigins;
  readonly #clients = new WeakMap<FastifyRequest, string>();
  #connections = 0;
  #closing: Promise<void> | null = null;

  constructor(options: ApiServerOptions) {
    this.#limits = compileLimits(options.limits);
    this.#compiler = new CompileThread(this.#limits.compileMs);
    this.#renderer = new CompileThread(this.#limits.compileMs);
    this.#live = new LiveGenerations(this.#limits);
    this.#keys = new KeyRing(options.apiKeys ?? [], options.keyHashes);
    this.#allowedHosts = (options.allowedHosts ?? []).map((name) => name.toLowerCase());
    this.#origins = new CrossOrigins(options.corsOrigins ?? []);
    this.#routes = buildRoutes(this.#limits);
    const document = buildOpenApi(this.#routes, options.version ?? "0.0.0");
    this.#views = new ProcessViews(this.#registry, options.expectedModels ?? [], options.page ?? null, document);
    this.#runner = new RequestRunner({
      ...this.#work,
      live: this.#live,
      replies: this.#replies,
      findGeneration: (id, client) => this.#findGeneration(id, client),
    });
    this.serve(options.models ?? []);
    this.#tls = options.tls ?? null;
    this.#app = this.#build();
  }

  /** For tests, and for whoever adds what is no part of the API. Routes can be added until it listens. */
  get app(): FastifyInstance {
    return this.#app;
  }

  /** `http://host:port` or `https://host:port`, once it listens. */
  get url(): string {
    const bound = this.#app.server.address();
    if (typeof bound !== "object" || bound === null)
      throw new NoodleError("ILLEGAL_STATE", "the server does not listen");
    return `${this.#tls === null ? "http" : "https"}://${bound.address.includes(":") ? `[${bound.address}]` : bound.address}:${bound.port}`;
  }

  /**
   * From now on these are the models. What the last stop of a new one's coordinator cut off goes on.
   *
   * @throws USAGE for two of one id
   */
  serve(models: readonly ServedModel[]): void {
    const known = new Set(this.#registry.models);
    this.#registry.serve(models);
    const parts = {
      endpoints: buildRestoring(this.#limits),
      work: this.#work,
      live: this.#live,
      replies: this.#replies,
    };
    for (const model of models) if (!known.has(model)) restoreGenerations(model, parts);
  }

  /** From now on there is `/metrics`. */
  showMetrics(source: ApiMetricsSource): void {
    this.#views.showMetrics(source);
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
    await this.#runner.end(graceMs);
    this.#compiler.close();
    this.#renderer.close();
    await this.#app.close();
  }

  get #work(): Omit<WorkContext, "client"> {
    return { limits: this.#limits, registry: this.#registry, compiler: this.#compiler, renderer: this.#renderer };
  }

  #findGeneration(id: string, client: string): LiveGeneration {
    try {
      return this.#live.find(id, client);
    } catch (error) {
      if (this.#views.isComplete) throw error;
      throw new NoodleError("CLUSTER_NOT_READY", "the models are being loaded: the generation may come with one");
    }
  }

  #build(): FastifyInstance {
    const limits = this.#limits;
    const app = createApp(limits, (reply, error) => void this.#answerError(reply, error), this.#tls ?? undefined);
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
        if (route.isOpen !== true) this.#clients.set(request, this.#keys.identify(request.raw, route.takesBasic));
      },
      handler: (request, reply) => {
        const client = this.#clients.get(request) ?? "";
        return this.#runner.answer(route, { request, reply, client, server: this.#views });
      },
    });
  }

  #guard(request: FastifyRequest, reply: FastifyReply): void {
    void reply.header("x-request-id", request.id);
    void reply.header("x-content-type-options", "nosniff");
    this.#origins.allow(request, reply);
    if (this.#connections > this.#limits.connections) {
      void reply.header("connection", "close");
      const text = `${this.#connections} connections are open, the limit is ${this.#limits.connections}`;
      throw new HttpFault("too_many_connections", text);
    }
    checkHeaders(request.raw, this.#limits);
    checkHost(request.raw, this.#allowedHosts);
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
    if (request.method === "OPTIONS" && this.#origins.isAllowed(request)) return answerPreflight(reply);
    const methods = this.#routes.filter((route) => this.#app.hasRoute({ method: route.method, url: path }));
    const here = methods.filter((route) => route.path === path).map((route) => route.method);
    if (here.length === 0) {
      return this.#answerError(reply, new HttpFault("route_not_found", `there is no ${path.slice(0, 200)} here`));
    }
    const allow = here.includes("GET") ? [...here, "HEAD"] : here;
    const fault = new HttpFault("method_not_allowed", `${path} takes ${allow.join(", ")}`, { allow: allow.join(", ") });
    return this.#answerError(reply, fault);
  }
}
