import { afterEach, describe, expect, it } from "vitest";
import { type ApiServer, createApiServer } from "./api-server.ts";
import { FakeServedModel, readEvents } from "./testing.ts";

const servers: ApiServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

const NAMED = { "idempotency-key": "a-request" };

function post(server: ApiServer, body: object, headers: Record<string, string>): Promise<Response> {
  return fetch(`${server.url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify({ prompt: "x", max_tokens: 50, stream: true, ...body }),
  });
}

async function listen(...[options]: Parameters<typeof createApiServer>): Promise<ApiServer> {
  const server = createApiServer(options);
  servers.push(server);
  await server.listen("127.0.0.1", 0);
  return server;
}

describe("a request that a stop cut off", () => {
  /** What a coordinator's journal has of the first tokens of a request, and a model that goes on with it. */
  async function stop(body: object, headers: Record<string, string>, choices: number) {
    const first = new FakeServedModel({ reply: () => "Hello world!" });
    const events = readEvents(await (await post(await listen({ models: [first] }), body, headers)).text());
    const interrupted = first.requests.slice(0, choices).map(({ origin, client = "" }, index) => ({
      sessionId: String(index),
      client,
      origin,
    }));
    const model = new FakeServedModel({ reply: () => "Hello world!" });
    const resumed: string[] = [];
    const { requests } = first;
    Object.assign(model, {
      interrupted: () => interrupted,
      resume: (sessionId: string, signal: AbortSignal) => {
        resumed.push(sessionId);
        return model.generate(requests[Number(sessionId)] ?? { prompt: "x", maxTokens: 1 }, signal);
      },
    });
    return { events, model, resumed, body };
  }

  it.each([1, 2])("gives its client the very next event, of %d choices", async (n) => {
    const { events, model, resumed, body } = await stop({ n }, {}, n);
    const server = await listen({ models: [], expectedModels: ["fake-model"] });
    const again = (): Promise<Response> => post(server, body, { "last-event-id": events[4]?.id ?? "" });
    // Before the model is there it may still come.
    expect((await again()).status).toBe(503);
    server.serve([model]);
    const rest = readEvents(await (await again()).text());
    expect(rest.length).toBe(events.length - 5);
    expect(rest.map(({ data }) => data).sort()).toEqual(
      events
        .slice(5)
        .map(({ data }) => data)
        .sort(),
    );
    expect(resumed.sort()).toEqual(n === 1 ? ["0"] : ["0", "1"]);
  });

  it("tells a client that comes before its tokens are there again nothing that it has", async () => {
    const { events, model, body } = await stop({}, {}, 1);
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    model.options = { ...model.options, beforeToken: () => opened };
    const server = await listen({ models: [model] });
    const answer = post(server, body, { "last-event-id": events[4]?.id ?? "" });
    await new Promise((resolve) => setTimeout(resolve, 100));
    open();
    const rest = readEvents(await (await answer).text());
    expect(rest.map(({ id }) => id)).toEqual(events.slice(5).map(({ id }) => id));
  });

  it("is found by its name, and ends where nobody comes for one without", async () => {
    const named = await stop({}, NAMED, 1);
    const server = await listen({ models: [named.model] });
    const answer = await post(server, {}, NAMED);
    expect(readEvents(await answer.text())).toEqual(named.events);

    const lonely = await stop({}, {}, 1);
    lonely.model.options = {
      ...lonely.model.options,
      beforeToken: (_, signal) => new Promise((resolve) => signal.addEventListener("abort", () => resolve())),
    };
    servers.push(createApiServer({ models: [lonely.model], limits: { reconnectMs: 20 } }));
    for (let i = 0; i < 500 && lonely.model.cancelled === 0; i++) await new Promise((r) => setTimeout(r, 5));
    expect(lonely.model.cancelled).toBe(1);
  });
});
