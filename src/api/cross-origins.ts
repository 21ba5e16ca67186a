import type { FastifyReply, FastifyRequest } from "fastify";

const PREFLIGHT_HEADERS = {
  "access-control-allow-methods": "GET, POST, OPTIONS",
  "access-control-allow-headers": "authorization, content-type, x-api-key, x-request-id, x-stainless-*",
  "access-control-max-age": "600",
};

/** Origins whose pages may read the answers; `*` among them means all. */
export class CrossOrigins {
  readonly #origins: readonly string[];

  constructor(origins: readonly string[]) {
    this.#origins = origins;
  }

  isAllowed({ headers: { origin } }: FastifyRequest): boolean {
    return origin !== undefined && (this.#origins.includes("*") || this.#origins.includes(origin));
  }

  /** Lets the page read the answer, where its origin is allowed. */
  allow(request: FastifyRequest, reply: FastifyReply): void {
    if (!this.isAllowed(request)) return;
    void reply.headers({ "access-control-allow-origin": request.headers.origin, vary: "origin" });
  }
}

/** What a page may send, for a browser that asks before it does. */
export function answerPreflight(reply: FastifyReply): FastifyReply {
  return reply.code(204).headers(PREFLIGHT_HEADERS).send();
}
