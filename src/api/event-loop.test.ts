import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { Worker } from "node:worker_threads";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Tokenizer } from "../engine/index.ts";
import { createApiServer } from "./api-server.ts";
import { ERROR_RESPONSE } from "./schemas/others.ts";
import type { ServedTokenizer } from "./served-model.ts";
import { type Attack, listAttacks, makePlainRequest } from "./testing-attacks.ts";
import { FakeServedModel } from "./testing.ts";

/*
 * One server in this process with the bundled model's tokenizer, and its clients on a thread of their own, so that what
 * holds this thread up is the server alone.
 *
 * The event loop may be late by 100 ms. On a machine that is busy with other things it is late without any request: an
 * attack counts as a failure when the loop was late in each of three tries, and by more than twice of what plain
 * requests had to wait in the same test.
 */
const LAG_LIMIT_MS = 100;
const TRIES = 3;
const PLAIN_REQUESTS = 10;

const MODEL = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));

/** Sends what it is given, and gives back all that came until the other side closed. */
const CLIENT = `
const { parentPort, workerData } = require("node:worker_threads");
const { connect } = require("node:net");
parentPort.on("message", (bytes) => {
  const socket = connect(workerData, "127.0.0.1");
  const parts = [];
  socket.on("data", (part) => parts.push(part));
  socket.on("error", () => undefined);
  socket.on("close", () => parentPort.postMessage(Buffer.concat(parts).subarray(0, 65536).toString("latin1")));
  socket.write(bytes);
});
`;

const QUADRATIC =
  "{% for m in messages %}{% for n in messages %}{{ n.content | replace('a', 'bb') | upper | trim }}{% endfor %}{% endfor %}";

const tokenizer = Tokenizer.open(MODEL);
const served: ServedTokenizer = {
  vocabSize: tokenizer.vocabSize,
  bosId: tokenizer.bosId,
  eosId: tokenizer.eosId,
  specialTokens: new Map(),
  tokenize: (text, options) => tokenizer.tokenize(text, options),
  // Beside this thread in the product; what the test is after is what comes behind it.
  tokenizeLong: async (text) => new Int32Array(Buffer.byteLength(text)).fill(65),
  pieceBytes: (tokenId) => tokenizer.pieceBytes(tokenId),
  isEndOfGeneration: (tokenId) => tokenizer.isEndOfGeneration(tokenId),
};
const options = { tokenizer: served, contextTokens: 4096, reply: () => "ok" };
const models = [
  new FakeServedModel(options),
  new FakeServedModel({ ...options, id: "quadratic", chatTemplate: QUADRATIC }),
];
const server = createApiServer({ models, limits: { compileMs: 300 } });
const delay = monitorEventLoopDelay({ resolution: 5 });
let client: Worker;
let plainLagMs = 0;

async function send({ bytes }: Attack): Promise<{ lagMs: number; text: string }> {
  delay.reset();
  client.postMessage(bytes, []);
  const [text] = (await once(client, "message")) as [string];
  // What is left of it: buffers that are given back, threads that end.
  await new Promise((resolve) => setTimeout(resolve, 20));
  return { lagMs: delay.max / 1e6, text };
}

beforeAll(async () => {
  await server.listen("127.0.0.1", 0);
  client = new Worker(CLIENT, { eval: true, workerData: Number(new URL(server.url).port) });
  delay.enable();
  await send(makePlainRequest());
  for (let i = 0; i < PLAIN_REQUESTS; i++) plainLagMs = Math.max(plainLagMs, (await send(makePlainRequest())).lagMs);
});

afterAll(async () => {
  delay.disable();
  await client.terminate();
  await server.close();
  tokenizer.close();
});

describe("hostile input leaves the event loop to the others", () => {
  it.each(listAttacks().map((attack) => [attack.name, attack] as const))("%s", async (_, attack) => {
    const attackMs = async (): Promise<number> => {
      const { lagMs, text } = await send(attack);
      expect(text).toMatch(/^HTTP\/1\.1 (200|4\d\d) /);
      if (!text.startsWith("HTTP/1.1 200")) {
        ERROR_RESPONSE.parse(JSON.parse(text.slice(text.indexOf("\r\n\r\n") + 4)));
      }
      return lagMs;
    };
    const allowedMs = Math.max(LAG_LIMIT_MS, 2 * plainLagMs);
    let leastMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < TRIES && leastMs >= allowedMs; i++) leastMs = Math.min(leastMs, await attackMs());
    expect(leastMs).toBeLessThan(allowedMs);
    expect((await send(makePlainRequest())).text).toMatch(/^HTTP\/1\.1 200 /);
  });
});
