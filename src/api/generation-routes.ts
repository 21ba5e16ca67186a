import { NoodleError } from "../common/index.ts";
import { answerFrom, goOn } from "./answer-generation.ts";
import type { Route } from "./routes.ts";
import * as other from "./schemas/others.ts";

/** What can be asked of a generation by its id: the rest of its stream, and its end. */
export function buildGenerationRoutes(): readonly Route[] {
  return [
    {
      method: "GET",
      path: "/v1/generations/{id}/events",
      summary: "The stream of a generation, from its first event or from behind Last-Event-ID.",
      takesBasic: true,
      responses: { 200: "text/event-stream", 204: "text/event-stream", 404: other.ERROR_RESPONSE },
      answer: ({ context, params }) => {
        const id = params["id"] ?? "";
        if (context.lastEventId === null) {
          const generation = context.findGeneration(id);
          if (generation.stream !== null) return answerFrom(context, generation, null);
          throw new NoodleError("REQUEST_INVALID", "this generation is not streamed: its response comes whole", {
            details: { param: "id" },
          });
        }
        return goOn(context, context.lastEventId, ({ identity }) => {
          if (identity.id === id) return;
          throw new NoodleError("REQUEST_INVALID", "Last-Event-ID is that of another generation", {
            details: { param: "Last-Event-ID" },
          });
        });
      },
    },
    {
      method: "POST",
      path: "/v1/generations/{id}/cancel",
      summary: "Ends a generation, whoever waits for it.",
      responses: { 200: other.GENERATION, 404: other.ERROR_RESPONSE },
      answer: async ({ context, params }) => {
        const generation = context.findGeneration(params["id"] ?? "");
        generation.cancel();
        await generation.over;
        return { body: { id: generation.identity.id, object: "generation", status: generation.state } };
      },
    },
  ];
}
