import type { z } from "zod";
import { answerGeneration } from "./answer-generation.ts";
import { CHAT } from "./chat-completions.ts";
import { COMPLETION } from "./completions.ts";
import { buildGenerationRoutes } from "./generation-routes.ts";
import { HttpFault } from "./http-fault.ts";
import type { ApiLimits } from "./limits.ts";
import { readRequest } from "./read-request.ts";
import type { RequestContext } from "./request-context.ts";
import {
  buildChatRequest,
  buildTemplateRequest,
  CHAT_CHUNK,
  CHAT_RESPONSE,
  TEMPLATE_RESPONSE,
} from "./schemas/chat.ts";
import { buildCompletionRequest, COMPLETION_RESPONSE } from "./schemas/completions.ts";
import { MODEL_QUERY } from "./schemas/fields.ts";
import * as other from "./schemas/others.ts";
import type { Readiness } from "./served-model.ts";
import { applyTemplate, describeModel, describeTokenizer, detokenize, embed, tokenize } from "./token-routes.ts";

/** What is answered: an object or a text that is JSON already, or a text of another type. */
export interface RouteAnswer {
  /** @default 200 */
  readonly status?: number;
  /** undefined: it went out as a stream. */
  readonly body: object | string | undefined;
  /** @default JSON */
  readonly contentType?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What a route is given: its own parts checked by its schemas. */
export interface RouteCall {
  readonly context: RequestContext;
  readonly server: ServerViews;
  readonly body: unknown;
  readonly query: unknown;
  readonly params: Readonly<Record<string, string>>;
}

/** What routes show of the process. */
export interface ServerViews {
  readiness(): Readiness;
  /** undefined before there is a cluster. */
  readStatus(model: string | undefined): object | undefined;
  /** undefined where nothing is measured. */
  readMetrics(): Promise<{ readonly contentType: string; readonly text: string }> | undefined;
  readonly page: { readonly html: string; readonly policy: string } | null;
  readonly document: object;
}

/** One route: what registers it, what documents it, what answers it. */
export interface Route {
  readonly method: "GET" | "POST";
  /** As OpenAPI writes it, with `{id}`. */
  readonly path: string;
  readonly summary: string;
  /** No key is asked for. */
  readonly isOpen?: boolean;
  /** The key may be the password of HTTP Basic: for what people open in a browser. */
  readonly takesBasic?: boolean;
  readonly query?: z.ZodObject;
  readonly request?: z.ZodType;
  /** Schema by status, JSON unless a content type stands for it. */
  readonly responses: Readonly<Record<number, z.ZodType | string>>;
  /** One event where the request has `stream: true`. */
  readonly streams?: z.ZodType;
  answer(call: RouteCall): RouteAnswer | Promise<RouteAnswer>;
}

/** Every route of the server. */
export function buildRoutes(limits: ApiLimits): readonly Route[] {
  const chat = buildChatRequest(limits);
  const completion = buildCompletionRequest(limits);
  const template = buildTemplateRequest(limits);
  const detokenization = other.buildDetokenizeRequest(limits);
  const embeddings = buildEmbeddings(limits);
  return [
    {
      method: "GET",
      path: "/v1/models",
      summary: "The models that are served.",
      responses: { 200: other.MODEL_LIST },
      answer: ({ context }) => ({ body: { object: "list", data: context.registry.models.map(describeModel) } }),
    },
    {
      method: "GET",
      path: "/v1/models/{id}",
      summary: "One of them.",
      responses: { 200: other.MODEL },
      answer: ({ context, params }) => ({ body: describeModel(context.registry.find(params["id"] ?? "").model) }),
    },
    {
      method: "POST",
      path: "/v1/completions",
      summary: "Continues text, or scores it.",
      request: completion,
      responses: { 200: COMPLETION_RESPONSE },
      streams: COMPLETION_RESPONSE,
      answer: ({ context, body }) => answerGeneration(COMPLETION, context, readRequest(completion, body)),
    },
    {
      method: "POST",
      path: "/v1/chat/completions",
      summary: "Answers a conversation.",
      request: chat,
      responses: { 200: CHAT_RESPONSE },
      streams: CHAT_CHUNK,
      answer: ({ context, body }) => answerGeneration(CHAT, context, readRequest(chat, body)),
    },
    ...buildGenerationRoutes(),
    embeddings,
    {
      method: "POST",
      path: "/tokenize",
      summary: "Text to token ids.",
      request: other.TOKENIZE_REQUEST,
      responses: { 200: other.TOKENIZE_RESPONSE },
      answer: async ({ context, body }) => ({
        body: await tokenize(context, readRequest(other.TOKENIZE_REQUEST, body)),
      }),
    },
    {
      method: "POST",
      path: "/detokenize",
      summary: "Token ids to text.",
      request: detokenization,
      responses: { 200: other.DETOKENIZE_RESPONSE },
      answer: async ({ context, body }) => ({
        body: await detokenize(context, readRequest(detokenization, body)),
      }),
    },
    {
      method: "POST",
      path: "/apply-template",
      summary: "Messages to the prompt that the model reads.",
      request: template,
      responses: { 200: TEMPLATE_RESPONSE },
      answer: async ({ context, body }) => ({ body: await applyTemplate(context, readRequest(template, body)) }),
    },
    {
      method: "GET",
      path: "/tokenizer_info",
      summary: "Vocabulary, special tokens and chat template of a model.",
      query: MODEL_QUERY,
      responses: { 200: other.TOKENIZER_INFO },
      answer: ({ context, query }) => ({
        body: describeTokenizer(context.registry.find(readRequest(MODEL_QUERY, query).model)),
      }),
    },
    ...buildViews(),
  ];
}

function buildEmbeddings(limits: ApiLimits): Route {
  const request = other.buildEmbeddingsRequest(limits);
  return {
    method: "POST",
    path: "/v1/embeddings",
    summary: "Refused: no model that is served is one for embeddings.",
    request,
    responses: { 400: other.ERROR_RESPONSE },
    answer: ({ context, body }) => embed(context, readRequest(request, body)),
  };
}

/** What there is to look at. */
function buildViews(): Route[] {
  const health = (path: string): Route => ({
    method: "GET",
    path,
    summary: "Whether requests are taken, in the words of llama-server.",
    responses: { 200: other.HEALTH_OK, 503: other.HEALTH_LOADING },
    answer: ({ server }) =>
      server.readiness().status === "ready"
        ? { body: { status: "ok" } }
        : { status: 503, body: { error: { code: 503, message: "Loading model", type: "unavailable_error" } } },
  });
  return [
    health("/health"),
    health("/v1/health"),
    {
      method: "GET",
      path: "/live",
      summary: "The process is alive.",
      isOpen: true,
      responses: { 200: other.LIVE },
      answer: () => ({ body: { status: "alive" } }),
    },
    {
      method: "GET",
      path: "/ready",
      summary: "Whether requests are taken, and why not.",
      isOpen: true,
      responses: { 200: other.READY, 503: other.READY },
      answer: ({ server }) => {
        const readiness = server.readiness();
        return { status: readiness.status === "ready" ? 200 : 503, body: { ...readiness } };
      },
    },
    {
      method: "GET",
      path: "/v1/status",
      summary: "The cluster of a model, by default of the first: the document noodle.status.v1.",
      query: MODEL_QUERY,
      responses: { 200: other.STATUS, 503: other.READY },
      answer: ({ server, query }) => {
        const status = server.readStatus(readRequest(MODEL_QUERY, query).model);
        return status === undefined ? { status: 503, body: { ...server.readiness() } } : { body: status };
      },
    },
    {
      method: "GET",
      path: "/metrics",
      summary: "Metrics in Prometheus' text format.",
      responses: { 200: "text/plain", 404: other.ERROR_RESPONSE },
      answer: async ({ server }) => {
        const metrics = await server.readMetrics();
        if (metrics === undefined) throw new HttpFault("route_not_found", "this process keeps no metrics");
        return { body: metrics.text, contentType: metrics.contentType };
      },
    },
    {
      method: "GET",
      path: "/openapi.json",
      summary: "This document.",
      responses: { 200: other.OPENAPI },
      answer: ({ server }) => ({ body: server.document }),
    },
    {
      method: "GET",
      path: "/",
      summary: "A page to chat with.",
      takesBasic: true,
      responses: { 200: "text/html", 404: other.ERROR_RESPONSE },
      answer: ({ server }) => {
        if (server.page === null) throw new HttpFault("route_not_found", "this server has no page; GET /v1/models");
        return {
          body: server.page.html,
          contentType: "text/html; charset=utf-8",
          headers: { "content-security-policy": server.page.policy },
        };
      },
    },
  ];
}
