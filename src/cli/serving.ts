import { hostname } from "node:os";
import { type ApiServer, createApiServer, readChatPage } from "../api/index.ts";
import type { Coordinator } from "../cluster/coordinator/index.ts";
import { must, NoodleError } from "../common/index.ts";
import type { Tokenizer } from "../engine/index.ts";
import type { ApiSecurity } from "./cluster-security.ts";
import type { CommandContext } from "./command.ts";
import { readEngineOptions } from "./engine.ts";
import { mergeMetrics } from "./merge-metrics.ts";
import type { MetricsSource } from "./metrics-server.ts";
import { type ModelFile, nameModel, readModelFile } from "./model-file.ts";
import { PACKAGE_VERSION } from "./package.ts";
import { CoordinatedModel } from "./served-model.ts";
import { readApiKeys, readChatTemplate, type ServingOptions } from "./serving-options.ts";

export interface ServingRequest {
  readonly context: CommandContext;
  readonly options: ServingOptions;
  /** Files of the models. */
  readonly models: readonly string[];
  readonly host: string;
  /** 0 = any free one. */
  readonly port: number;
  /** Serves the chat page at `/`. @default true */
  readonly page?: boolean;
  /** What protects it. @default plain HTTP, for loopback */
  readonly security?: ApiSecurity;
}

/** A model that is going to be served. */
export interface NamedModel {
  readonly id: string;
  readonly file: ModelFile;
}

/** What serves a model, and whoever counts what it does. */
export interface ServingCluster {
  readonly coordinator: Coordinator;
  /** Stays the caller's, and open until the serving has ended. */
  readonly tokenizer: Tokenizer;
  readonly metrics: MetricsSource | null;
}

/**
 * The HTTP API of this process. It listens from the start, so that a port that is taken is known before weights are read;
 * a model is served from when its cluster is added.
 */
export class Serving implements AsyncDisposable {
  readonly models: readonly NamedModel[];
  readonly #request: ServingRequest;
  readonly #api: ApiServer;
  readonly #hasKeys: boolean;
  readonly #chatTemplate: string | null;
  readonly #served: CoordinatedModel[] = [];
  readonly #metrics: { readonly name: string; readonly source: MetricsSource }[] = [];

  /** @throws NoodleError `PORT_IN_USE`, `USAGE`, the errors of the models' files */
  static async open(request: ServingRequest): Promise<Serving> {
    const { options, host, port, security } = request;
    const models = await nameModels(request.models, options.alias ?? []);
    const [keys, chatTemplate, page] = await Promise.all([
      readApiKeys(options),
      readChatTemplate(options),
      request.page === false ? null : readChatPage(),
    ]);
    const hashes = security?.keyHashes ?? null;
    const keyCount = keys.length + (hashes?.().length ?? 0);
    security?.check(keyCount);
    const tls = security?.tls ?? null;
    const api = createApiServer({
      apiKeys: keys,
      expectedModels: models.map(({ id }) => id),
      ...(hashes === null ? {} : { keyHashes: hashes }),
      ...(tls === null ? {} : { tls }),
      page,
      version: PACKAGE_VERSION,
      ...(options.corsOrigin === undefined ? {} : { corsOrigins: options.corsOrigin }),
      allowedHosts: [hostname(), ...(options.allowHost ?? [])],
    });
    await api.listen(host, port);
    return new Serving(request, api, models, keyCount > 0, chatTemplate);
  }

  private constructor(
    request: ServingRequest,
    api: ApiServer,
    models: readonly NamedModel[],
    hasKeys: boolean,
    chatTemplate: string | null,
  ) {
    this.#request = request;
    this.#api = api;
    this.models = models;
    this.#hasKeys = hasKeys;
    this.#chatTemplate = chatTemplate;
  }

  /** `http://host:port` */
  get url(): string {
    return this.#api.url;
  }

  /** host:port, as `noodle status` has always said it. */
  get address(): string {
    return new URL(this.url).host;
  }

  /** From now on requests may choose this model. */
  add({ id, file }: NamedModel, { coordinator, tokenizer, metrics }: ServingCluster): void {
    const engine = readEngineOptions(this.#request.context.host.env);
    const chatTemplate = this.#chatTemplate;
    this.#served.push(new CoordinatedModel({ id, file, coordinator, tokenizer, chatTemplate, engine }));
    this.#api.serve(this.#served.map(({ served }) => served));
    if (metrics === null) return;
    this.#metrics.push({ name: id, source: metrics });
    this.#api.showMetrics(this.models.length === 1 ? metrics : mergeMetrics("model_id", this.#metrics));
  }

  /** A command line that works, for people to try. */
  describeCall(): string {
    const { id, file } = must(this.models[0], "model");
    const isChat = (this.#chatTemplate ?? file.chatTemplate) !== null;
    const path = isChat ? "v1/chat/completions" : "v1/completions";
    const body = isChat
      ? { model: id, messages: [{ role: "user", content: "Hello!" }], stream: true }
      : { model: id, prompt: "Once upon a time", max_tokens: 64, stream: true };
    const key = this.#hasKeys ? ' -H "authorization: Bearer $NOODLE_API_KEY"' : "";
    return `curl -N ${this.url}/${path}${key} -H "content-type: application/json" -d '${JSON.stringify(body)}'`;
  }

  /** Cancels what runs and stops. Closing twice is safe. */
  async close(): Promise<void> {
    await this.#api.close();
    for (const model of this.#served) model[Symbol.dispose]();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function nameModels(paths: readonly string[], aliases: readonly string[]): Promise<readonly NamedModel[]> {
  if (aliases.length > paths.length) {
    throw new NoodleError("USAGE", `--alias is given ${aliases.length} times for ${paths.length} models`);
  }
  const ids = paths.map((path, index) => nameModel(path, aliases[index]));
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new NoodleError("USAGE", `two models have the id "${twice}" (--alias)`);
  return Promise.all(
    paths.map(async (path, index) => ({ id: must(ids[index], "id"), file: await readModelFile(path) })),
  );
}
