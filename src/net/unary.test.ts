import { once } from "node:events";
import { createServer as createTcpServer } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { Loopback } from "../../test/fixtures/loopback.ts";
import { ERROR_CODES, type ErrorCode, NoodleError } from "../common/index.ts";
import { CoordinatorService, MESSAGE_CAP_BYTES } from "../protocol/index.ts";
import { bindService, createClient, createServer } from "./index.ts";

const IN_TIME = { timeoutMs: 30_000 };

let loopback: Loopback;
afterEach(() => loopback.close());

describe("a unary call", () => {
  it("carries request and response, payloads up to the cap too", async () => {
    loopback = await Loopback.start();
    const { rpc } = loopback.client();
    for (const bytes of [0, 1, 70_000, MESSAGE_CAP_BYTES]) {
      const payload = new Uint8Array(bytes).fill(7);
      const response = await rpc.ping({ payload }, IN_TIME);
      expect(Buffer.compare(response.payload, payload)).toBe(0);
      expect(response.nodeId).toBe("stage");
    }
  });

  it("refuses to send a message above the cap", async () => {
    loopback = await Loopback.start();
    const { rpc } = loopback.client();
    const payload = new Uint8Array(MESSAGE_CAP_BYTES + 70_000);
    await expect(rpc.ping({ payload }, IN_TIME)).rejects.toMatchObject({ code: "FRAME_INVALID" });
  });

  it("tells a handler's oversized response as a typed error", async () => {
    loopback = await Loopback.start({ ping: () => ({ payload: new Uint8Array(MESSAGE_CAP_BYTES + 70_000) }) });
    await expect(loopback.client().rpc.ping({}, IN_TIME)).rejects.toMatchObject({ code: "FRAME_INVALID" });
  });

  it("brings every error code of a handler to the client, with message, details and node", async () => {
    let thrown: unknown;
    loopback = await Loopback.start({
      ping: () => {
        throw thrown;
      },
    });
    const { rpc } = loopback.client();
    for (const code of Object.keys(ERROR_CODES) as ErrorCode[]) {
      thrown = new NoodleError(code, `${code} happened: 50 % ü\n`, { details: { have: 4 } });
      const received = await rpc.ping({}, IN_TIME).catch((error: unknown) => error);
      expect(received).toBeInstanceOf(NoodleError);
      expect((received as NoodleError).toJSON()).toEqual({
        code,
        message: `${code} happened: 50 % ü\n`,
        details: { have: 4, nodeId: "stage" },
      });
    }
    thrown = new TypeError("not ours");
    await expect(rpc.ping({}, IN_TIME)).rejects.toMatchObject({ code: "INTERNAL", message: "not ours" });
  });

  it("ends at its deadline, and the handler hears of it", async () => {
    const reasons: unknown[] = [];
    const stopped = new Deferred();
    loopback = await Loopback.start({
      ping: async (_request, { signal }) => {
        await new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));
        reasons.push((signal.reason as NoodleError).code);
        stopped.resolve();
        return {};
      },
    });
    const client = loopback.client();
    await client.connect();
    await expect(client.rpc.ping({}, { timeoutMs: 50 })).rejects.toMatchObject({ code: "TIMED_OUT" });
    await expect(stopped.promise).resolves.toBeUndefined();
    expect(["TIMED_OUT", "PEER_DEAD"]).toContain(reasons[0]);
  });

  it("ends when its signal is aborted, and the handler hears of it", async () => {
    const abort = new AbortController();
    const stopped = new Deferred();
    loopback = await Loopback.start({
      ping: async (_request, { signal }) => {
        abort.abort();
        await new Promise<void>((done) => signal.addEventListener("abort", () => done(), { once: true }));
        stopped.resolve();
        return {};
      },
    });
    const call = loopback.client().rpc.ping({}, { ...IN_TIME, signal: abort.signal });
    await expect(call).rejects.toMatchObject({ code: "INTERRUPTED" });
    await expect(stopped.promise).resolves.toBeUndefined();
  });

  it("does not start when its signal is aborted already", async () => {
    let calls = 0;
    loopback = await Loopback.start({
      ping: () => {
        calls += 1;
        return {};
      },
    });
    const options = { ...IN_TIME, signal: AbortSignal.abort() };
    await expect(loopback.client().rpc.ping({}, options)).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(calls).toBe(0);
  });

  it("does not abort the signal of a handler that has answered", async () => {
    const signals: AbortSignal[] = [];
    loopback = await Loopback.start({
      ping: (_request, { signal }) => {
        signals.push(signal);
        return {};
      },
    });
    const { rpc } = loopback.client();
    for (let call = 0; call < 3; call++) await rpc.ping({}, IN_TIME);
    expect(signals.map((signal) => signal.aborted)).toEqual([false, false, false]);
  });

  it("to a service that the peer does not have names the protocol as the cause", async () => {
    loopback = await Loopback.start();
    const client = createClient(CoordinatorService, loopback.address);
    await expect(client.rpc.status({}, IN_TIME)).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
    client.close();
  });

  it("after close is the caller's mistake", async () => {
    loopback = await Loopback.start();
    const client = loopback.client();
    client.close();
    client.close();
    await expect(client.rpc.ping({}, IN_TIME)).rejects.toMatchObject({ code: "ILLEGAL_STATE" });
  });

  it("works again after the server was away", async () => {
    loopback = await Loopback.start();
    const client = loopback.client();
    await client.rpc.ping({}, IN_TIME);
    await loopback.server.close(0);
    const failure = (await client.rpc.ping({}, IN_TIME).catch((error: unknown) => error)) as NoodleError;
    expect(["PEER_UNREACHABLE", "PEER_DEAD"]).toContain(failure.code);
    await expect(client.rpc.ping({}, IN_TIME)).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
    const again = await Loopback.start({}, { port: loopback.port });
    await expect(client.rpc.ping({}, IN_TIME)).resolves.toMatchObject({ nodeId: "stage" });
    client.close();
    await again.close();
  });
});

describe("a server stream", () => {
  it("gives the handler's messages in order, then ends", async () => {
    loopback = await Loopback.start();
    const blocks: number[] = [];
    for await (const chunk of loopback.client().rpc.readKv({})) blocks.push(chunk.block);
    expect(blocks).toEqual([0, 1, 2]);
  });

  it("gives what came before the handler's error, then the error", async () => {
    loopback = await Loopback.start({
      readKv: async function* () {
        yield { block: 0 };
        throw new NoodleError("SESSION_NOT_FOUND", "gone");
      },
    });
    const blocks: number[] = [];
    const reading = (async () => {
      for await (const chunk of loopback.client().rpc.readKv({})) blocks.push(chunk.block);
    })();
    await expect(reading).rejects.toMatchObject({ code: "SESSION_NOT_FOUND" });
    expect(blocks).toEqual([0]);
  });

  it("stops the handler when the client leaves the loop", async () => {
    const stopped = new Deferred();
    loopback = await Loopback.start({
      readKv: async function* () {
        try {
          for (let block = 0; ; block++) yield { block, data: new Uint8Array(100_000) };
        } finally {
          stopped.resolve();
        }
      },
    });
    for await (const chunk of loopback.client().rpc.readKv({})) if (chunk.block === 2) break;
    await expect(stopped.promise).resolves.toBeUndefined();
  });

  it("asks the handler for no more than the reader's room", async () => {
    const sizes = { flowControlWindowBytes: 256 * 1024, highWaterBytes: 1024 * 1024 };
    const message = 128 * 1024;
    let made = 0;
    loopback = await Loopback.start(
      {
        readKv: async function* () {
          for (let block = 0; block < 400; block++) {
            made += 1;
            yield { block, data: new Uint8Array(message) };
          }
        },
      },
      sizes,
    );
    let read = 0;
    let mostAhead = 0;
    for await (const chunk of loopback.client(sizes).rpc.readKv({})) {
      expect(chunk.block).toBe(read++);
      mostAhead = Math.max(mostAhead, made - read);
      // A reader that is slower than the writer: turns of the loop that the writer could use.
      for (let wait = 0; wait < 5; wait++) await new Promise((resolve) => setImmediate(resolve));
    }
    expect(read).toBe(400);
    // 16 messages in each side's library, the window, the high-water mark, and one being made.
    const room = 16 + 16 + (sizes.flowControlWindowBytes + sizes.highWaterBytes) / message + 2;
    expect(mostAhead).toBeLessThanOrEqual(room);
  });
});

describe("a server", () => {
  it("names a taken port and the option that sets it", async () => {
    loopback = await Loopback.start();
    const second = createServer({ services: [], port: loopback.port, portOption: "--my-port" });
    const error = (await second.start().catch((thrown: unknown) => thrown)) as NoodleError;
    expect(error.code).toBe("PORT_IN_USE");
    expect(error.message).toContain(String(loopback.port));
    expect(error.message).toContain("--my-port");
    await second.close();
  });

  it("says that a host is not this machine's", async () => {
    loopback = await Loopback.start();
    const server = createServer({ services: [], host: "203.0.113.1", port: 0 });
    await expect(server.start()).rejects.toMatchObject({ code: "USAGE" });
  });

  it("starts once, closes twice, and never starts again", async () => {
    loopback = await Loopback.start();
    await expect(loopback.server.start()).rejects.toMatchObject({ code: "ILLEGAL_STATE" });
    await loopback.server.close();
    await loopback.server.close();
    await expect(loopback.server.start()).rejects.toMatchObject({ code: "ILLEGAL_STATE" });
  });

  it("lets open calls finish when it closes, and takes no new ones", async () => {
    const release = new Deferred();
    const entered = new Deferred();
    loopback = await Loopback.start({
      ping: async () => {
        entered.resolve();
        await release.promise;
        return { nodeId: "finished" };
      },
    });
    const call = loopback.client().rpc.ping({}, IN_TIME);
    await entered.promise;
    const closed = loopback.server.close(30_000);
    await expect(loopback.client().connect()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
    release.resolve();
    await expect(call).resolves.toMatchObject({ nodeId: "finished" });
    await closed;
  });

  it("frees its port when it is closed", async () => {
    loopback = await Loopback.start();
    await loopback.client().rpc.ping({}, IN_TIME);
    await loopback.server.close(0);
    const other = createTcpServer();
    other.listen(loopback.port, "127.0.0.1");
    await once(other, "listening");
    expect(other.listening).toBe(true);
    await new Promise((resolve) => other.close(resolve));
  });

  it("refuses a service without a handler for each method", async () => {
    loopback = await Loopback.start();
    const { ping: _ping, ...rest } = { ping: () => ({}) };
    const binding = bindService(CoordinatorService, rest as never);
    expect(() => createServer({ services: [binding] })).toThrow(NoodleError);
  });
});

describe("a client", () => {
  it.each(["", "x", "x:y", "x:y:1", "http://x:1", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "::1:1", "a b:1"])(
    "is not made for the address %j",
    async (address) => {
      loopback = await Loopback.start();
      expect(() => createClient(CoordinatorService, address)).toThrow(expect.objectContaining({ code: "USAGE" }));
    },
  );
});

class Deferred {
  resolve: () => void = ignore;
  readonly promise = new Promise<void>((resolve) => {
    this.resolve = resolve;
  });
}

function ignore(): void {}
