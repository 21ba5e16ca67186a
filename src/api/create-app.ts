import Fastify, { type FastifyInstance, type FastifyReply } from "fastify";
import { NoodleError } from "../common/index.ts";
import { answerClientError, translateFrameworkError } from "./client-errors.ts";
import { chooseRequestId } from "./guards.ts";
import { readJsonBody } from "./json-body.ts";
import type { ApiLimits } from "./limits.ts";

/** Connections beyond the limit that get an answer, before the rest is closed unread. */
const SPARE_CONNECTIONS = 64;

/**
 * An HTTP server without routes: it holds the limits of connections, headers and bodies, reads JSON and nothing else, and
 * has its own errors answered like all others.
 *
 * @param tls undefined = plain HTTP
 */
export function createApp(
  limits: ApiLimits,
  answerError: (reply: FastifyReply, error: Error) => void,
  tls?: { readonly certificatePem: string; readonly privateKeyPem: string },
): FastifyInstance {
  const http = {
    headersTimeout: Math.min(limits.headersTimeoutMs, limits.requestTimeoutMs),
    maxHeaderSize: limits.headerBytes,
    connectionsCheckingInterval: Math.min(1000, limits.headersTimeoutMs),
  };
  const secure = tls && { ...http, cert: tls.certificatePem, key: tls.privateKeyPem, minVersion: "TLSv1.2" as const };
  const app: FastifyInstance = Fastify({
    bodyLimit: limits.bodyBytes,
    keepAliveTimeout: limits.idleTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    forceCloseConnections: true,
    genReqId: chooseRequestId,
    // The library's types make another kind of server of an option; a server over TLS is used in the same ways.
    ...((secure === undefined ? { http } : { https: secure }) as { http: typeof http }),
    clientErrorHandler: (error, socket) => answerClientError(error, socket, limits),
    frameworkErrors: (error, _request, reply) => answerError(reply, translateFrameworkError(error, limits)),
  });
  app.server.maxConnections = limits.connections + SPARE_CONNECTIONS;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("application/json", { parseAs: "buffer" }, (_request, body, done) => {
    try {
      done(null, readJsonBody(body as Buffer, limits));
    } catch (error) {
      done(NoodleError.from(error));
    }
  });
  app.setErrorHandler((error, _request, reply) => answerError(reply, translateFrameworkError(error, limits)));
  return app;
}
