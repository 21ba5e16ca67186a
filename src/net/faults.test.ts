import { fork } from "node:child_process";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import {
  type AddressInfo,
  connect as connectTcp,
  createServer as createTcpServer,
  type Server,
  type Socket,
} from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ackOfStep, chunkOf, Loopback, stepOf, until } from "../../test/fixtures/loopback.ts";
import type { NoodleError } from "../common/index.ts";
import { type ForwardReply, StageService } from "../protocol/index.ts";
import { createClient, type StreamListener } from "./index.ts";

const IN_TIME = { timeoutMs: 30_000 };

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startLoopback(...args: Parameters<typeof Loopback.start>): Promise<Loopback> {
  const loopback = await Loopback.start(...args);
  cleanups.push(() => loopback.close());
  return loopback;
}

async function startTcp(onSocket: (socket: Socket) => void): Promise<{ address: string; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server: Server = createTcpServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { address: `127.0.0.1:${(server.address() as AddressInfo).port}`, sockets };
}

function clientOf(address: string, connectTimeoutMs?: number) {
  const client = createClient(StageService, address, connectTimeoutMs === undefined ? {} : { connectTimeoutMs });
  cleanups.push(() => client.close());
  return client;
}

/** Resolves with the code of the error that a stream ends with. */
class Ending implements StreamListener<ForwardReply> {
  readonly steps: number[] = [];
  readonly code: Promise<string>;
  #settle: (code: string) => void = () => {};

  constructor() {
    this.code = new Promise((resolve) => {
      this.#settle = resolve;
    });
  }

  onMessage(message: ForwardReply): void {
    this.steps.push(stepOf(message));
  }

  onEnd(): void {
    this.#settle("end");
  }

  onError(error: NoodleError): void {
    this.#settle(error.code);
  }
}

describe("a peer that is not what it should be", () => {
  it("is unreachable when nothing listens", async () => {
    const { address } = await startTcp(() => {});
    await cleanups.pop()?.();
    const client = clientOf(address);
    await expect(client.connect()).rejects.toMatchObject({ code: "PEER_UNREACHABLE", details: { peer: address } });
    await expect(client.rpc.ping({}, IN_TIME)).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
    await expect(client.rpc.executeForward()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
    await expect(client.rpc.readKv({}).next()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  });

  it("is unreachable when it accepts and never speaks, and its sockets are not left behind", async () => {
    const { address, sockets } = await startTcp((socket) => socket.resume());
    const client = clientOf(address, 100);
    for (let attempt = 1; attempt <= 2; attempt++) {
      await expect(client.connect()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
      await until(() => sockets.length === attempt && sockets.every((socket) => socket.destroyed));
    }
  });

  it("times a call out that is shorter than the connect timeout", async () => {
    const { address } = await startTcp((socket) => socket.resume());
    const client = clientOf(address, 60_000);
    await expect(client.rpc.ping({}, { timeoutMs: 50 })).rejects.toMatchObject({ code: "TIMED_OUT" });
    const abort = new AbortController();
    const connecting = client.connect(abort.signal);
    abort.abort();
    await expect(connecting).rejects.toMatchObject({ code: "INTERRUPTED" });
  });

  it.each([
    ["speaks HTTP/1", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"],
    ["speaks another protocol", "SSH-2.0-OpenSSH_9.2\r\n"],
    ["sends noise", Buffer.from(Array.from({ length: 4096 }, (_, index) => (index * 197 + 13) & 255))],
  ])("is unreachable when it %s", async (_name, bytes) => {
    const { address } = await startTcp((socket) => socket.write(bytes));
    await expect(clientOf(address, 500).connect()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  });

  it("is unreachable when it hangs up at once", async () => {
    const { address } = await startTcp((socket) => socket.destroy());
    await expect(clientOf(address).connect()).rejects.toMatchObject({ code: "PEER_UNREACHABLE" });
  });
});

describe("a server", () => {
  it.each([
    ["HTTP/1", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ["noise", Buffer.from(Array.from({ length: 8192 }, (_, index) => (index * 89 + 7) & 255))],
    [
      "a broken frame after HTTP/2's preface",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
    ["nothing but a hang-up", ""],
  ])("survives %s on its port", async (_name, bytes) => {
    const loopback = await startLoopback();
    for (let attempt = 0; attempt < 3; attempt++) {
      const socket = connectTcp(loopback.port, "127.0.0.1");
      socket.on("error", () => {});
      socket.resume();
      await once(socket, "connect");
      socket.end(bytes, "latin1");
      await new Promise((resolve) => socket.once("close", resolve));
    }
    await expect(loopback.client().rpc.ping({}, IN_TIME)).resolves.toMatchObject({ nodeId: "stage" });
  });

  it("answers bytes that are no message with a typed error", async () => {
    const loopback = await startLoopback();
    const session = connectHttp2(`http://${loopback.address}`);
    cleanups.push(() => session.destroy());
    const request = session.request({
      ":method": "POST",
      ":path": "/noodle.v1.StageService/Ping",
      "content-type": "application/grpc",
      te: "trailers",
    });
    let headers: Record<string, unknown> = {};
    request.on("response", (received) => {
      headers = { ...headers, ...received };
    });
    request.on("trailers", (received) => {
      headers = { ...headers, ...received };
    });
    request.resume();
    // A message of three bytes whose first field says that it is 127 bytes long.
    request.end(Buffer.from([0, 0, 0, 0, 3, 0x0a, 0x7f, 0x00]));
    await once(request, "close");
    expect(headers["grpc-status"]).toBe("13");
    await expect(loopback.client().rpc.ping({}, IN_TIME)).resolves.toMatchObject({ nodeId: "stage" });
  });

  it("offers the window that it was given, for streams and for the connection", async () => {
    const loopback = await startLoopback({}, { flowControlWindowBytes: 1024 * 1024 });
    const session = connectHttp2(`http://${loopback.address}`);
    cleanups.push(() => session.destroy());
    await once(session, "remoteSettings");
    expect(session.remoteSettings.initialWindowSize).toBe(1024 * 1024);
    await until(() => session.state.remoteWindowSize === 1024 * 1024);
  });
});

describe("a stream whose peer goes away", () => {
  it("fails on both sides when the server is closed without grace", async () => {
    const loopback = await startLoopback();
    const stream = await loopback.client().rpc.executeForward();
    const ending = new Ending();
    stream.listen(ending);
    stream.send(chunkOf(new Uint8Array(3)));
    await until(() => ending.steps.length === 1);
    await loopback.server.close(0);
    await expect(ending.code).resolves.toBe("PEER_DEAD");
  });

  it("fails when the process of the server is killed", async () => {
    const child = fork(new URL("../../test/fixtures/stage-server.ts", import.meta.url), {
      execArgv: ["--import", "tsx"],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    cleanups.push(() => child.kill("SIGKILL"));
    const [port] = (await once(child, "message")) as [number];
    const stream = await clientOf(`127.0.0.1:${port}`).rpc.executeForward();
    const ending = new Ending();
    stream.listen(ending);
    stream.send(chunkOf(new Uint8Array(3)));
    await until(() => ending.steps.length === 1);
    child.kill("SIGKILL");
    await expect(ending.code).resolves.toBe("PEER_DEAD");
    await expect(stream.write(chunkOf(new Uint8Array(3)))).rejects.toMatchObject({ code: "PEER_DEAD" });
  });

  it("fails on the server when the client's connection is closed", async () => {
    const heard: string[] = [];
    const loopback = await startLoopback({
      executeForward: (stream) => {
        stream.listen({
          onMessage: () => void stream.send(ackOfStep(1)),
          onEnd: () => {},
          onError: (error) => heard.push(error.code),
        });
      },
    });
    const client = loopback.client();
    const stream = await client.rpc.executeForward();
    const ending = new Ending();
    stream.listen(ending);
    stream.send(chunkOf(new Uint8Array(3)));
    await until(() => ending.steps.length === 1);
    client.close();
    await until(() => heard.length > 0);
    expect(heard).toEqual(["PEER_DEAD"]);
    // This side has hung up itself.
    await expect(ending.code).resolves.toBe("INTERRUPTED");
  });

  it("fails on both sides for a reset at any place in a message, and delivers whole messages only", async () => {
    const lengths: number[] = [];
    const heard: string[] = [];
    const loopback = await startLoopback({
      executeForward: (stream) => {
        stream.listen({
          onMessage: ({ message }) => void (message.case === "chunk" && lengths.push(message.value.data.length)),
          onEnd: () => heard.push("end"),
          onError: (error) => heard.push(error.code),
        });
      },
    });
    const message = 40_000;
    // From within the first message to within the third.
    for (const cutAfterBytes of [2_000, 20_000, 40_000, 60_000, 100_000]) {
      lengths.length = 0;
      heard.length = 0;
      let passed = 0;
      const proxy = await startTcp((socket) => {
        const upstream = connectTcp(loopback.port, "127.0.0.1");
        upstream.on("error", () => {});
        upstream.pipe(socket);
        socket.on("data", (bytes) => {
          upstream.write(bytes.subarray(0, Math.max(cutAfterBytes - passed, 0)));
          passed += bytes.length;
          if (passed < cutAfterBytes) return;
          upstream.resetAndDestroy();
          socket.resetAndDestroy();
        });
      });
      const stream = await clientOf(proxy.address).rpc.executeForward();
      const ending = new Ending();
      stream.listen(ending);
      for (let index = 0; index < 4; index++) stream.send(chunkOf(new Uint8Array(message)));
      await expect(ending.code).resolves.toBe("PEER_DEAD");
      await until(() => heard.length > 0);
      expect(heard).toEqual(["PEER_DEAD"]);
      expect(lengths.every((length) => length === message)).toBe(true);
      expect(lengths.length).toBeLessThanOrEqual(Math.floor(cutAfterBytes / message));
    }
  });
});
