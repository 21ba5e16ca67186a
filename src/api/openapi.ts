import { z } from "zod";
import { HTTP_FAULTS } from "./http-fault.ts";
import type { Route } from "./routes.ts";
import { ERROR_RESPONSE } from "./schemas/others.ts";

/** The OpenAPI 3.1 document of the routes: made from the very schemas that check the requests. */
export function buildOpenApi(routes: readonly Route[], version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const route of routes) {
    paths[route.path] = { ...paths[route.path], [route.method.toLowerCase()]: describeRoute(route) };
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "NoodleCore",
      version,
      description: "The OpenAI-compatible HTTP API of a cluster. docs/api.md says what is not in the schemas.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    paths,
    components: {
      schemas: { Error: toJson(ERROR_RESPONSE) },
      securitySchemes: {
        bearer: { type: "http", scheme: "bearer" },
        key: { type: "apiKey", in: "header", name: "x-api-key" },
      },
    },
  };
}

function describeRoute(route: Route): object {
  const params = [...route.path.matchAll(/\{(\w+)\}/g)].map((match) => ({
    name: match[1] ?? "",
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const query = Object.entries(route.query?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: "query",
    required: false,
    schema: toJson(schema as z.ZodType),
  }));
  const parameters = [...params, ...query];
  return {
    operationId: nameOperation(route),
    summary: route.summary,
    security: route.isOpen === true ? [] : [{}, { bearer: [] }, { key: [] }],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.request === undefined
      ? {}
      : { requestBody: { required: true, content: { "application/json": { schema: toJson(route.request) } } } }),
    responses: describeResponses(route),
  };
}

function describeResponses(route: Route): object {
  const responses: Record<string, object> = {};
  for (const [status, schema] of Object.entries(route.responses)) {
    const content =
      typeof schema === "string"
        ? { [schema]: { schema: { type: "string" } } }
        : { "application/json": { schema: toJson(schema) } };
    const stream =
      status === "200" && route.streams !== undefined ? { "text/event-stream": { schema: toJson(route.streams) } } : {};
    responses[status] = { description: status === "200" ? "Success." : "Refused.", content: { ...content, ...stream } };
  }
  const error = { "application/json": { schema: { $ref: "#/components/schemas/Error" } } };
  responses["default"] = {
    description: `OpenAI's error object. Beside the codes of docs/errors.md: ${Object.keys(HTTP_FAULTS).join(", ")}.`,
    content: error,
  };
  return responses;
}

function nameOperation({ method, path }: Route): string {
  const words = path.split(/[^A-Za-z0-9]+/).filter((word) => word !== "");
  return [method.toLowerCase(), ...(words.length === 0 ? ["page"] : words)].join("_");
}

/** Both sides of a schema are the same here: nothing is transformed, and no default is filled in. */
function toJson(schema: z.ZodType): object {
  const { $schema: _dialect, ...json } = z.toJSONSchema(schema, { unrepresentable: "any", io: "output" });
  return stripClosed(json) as object;
}

/** Fields that are not known are ignored, so no object is closed. */
function stripClosed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(stripClosed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => key !== "additionalProperties" || inner !== false)
      .map(([key, inner]) => [key, stripClosed(inner)]),
  );
}
