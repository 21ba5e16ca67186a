import { createApiServer, type ApiServer, type ApiServerOptions } from "../../src/api/index.ts";
import { type FakeModelOptions, FakeServedModel } from "../../src/api/testing.ts";

/** ChatML that knows tools as Hermes and Qwen write them. */
export const TOOL_TEMPLATE =
  '{% if tools %}<|im_start|>system\nCall functions as <tool_call>{"name": ..., "arguments": ...}</tool_call>.\n' +
  "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif %}" +
  "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}" +
  "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

export interface ServedFake extends AsyncDisposable {
  readonly server: ApiServer;
  readonly model: FakeServedModel;
  /** With `/v1`, as clients want it. */
  readonly baseUrl: string;
}

/** A server on loopback with a model that needs no cluster. */
export async function serveFake(model: FakeModelOptions = {}, options: ApiServerOptions = {}): Promise<ServedFake> {
  const fake = new FakeServedModel({ chatTemplate: TOOL_TEMPLATE, ...model });
  const server = createApiServer({ models: [fake], ...options });
  await server.listen("127.0.0.1", 0);
  return {
    server,
    model: fake,
    baseUrl: `${server.url}/v1`,
    [Symbol.asyncDispose]: () => server.close(),
  };
}

/** Waits for what a server does behind its answer. */
export async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 1000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  if (!condition()) throw new Error(`it never came to be: ${condition.toString()}`);
}

/** One token each few ms, without end until the limit. */
export const ENDLESS: FakeModelOptions = {
  reply: () => "again ".repeat(500),
  beforeToken: () => new Promise((resolve) => setTimeout(resolve, 2)),
};
