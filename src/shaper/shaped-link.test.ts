import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { ShapedLink, type Toxic } from "./index.ts";

const closers: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A listener that does with each connection as it is told. */
async function listen(serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    serve(socket);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

const echo = (): Promise<number> => listen((socket) => socket.pipe(socket));

async function openLink(targetPort: number, toxics: readonly Toxic[] = [], maxHeldBytes?: number): Promise<ShapedLink> {
  const link = await ShapedLink.open({
    targetPort,
    toxics,
    seed: 7,
    ...(maxHeldBytes === undefined ? {} : { maxHeldBytes }),
  });
  closers.push(() => link.close());
  return link;
}

async function connect(link: ShapedLink): Promise<Socket> {
  const socket = createConnection({ port: link.port, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
  socket.on("error", () => undefined);
  closers.push(() => void socket.destroy());
  await once(socket, "connect");
  return socket;
}

async function read(socket: Socket, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for (let have = 0; have < bytes; ) {
    const [chunk] = (await once(socket, "data")) as [Buffer];
    chunks.push(chunk);
    have += chunk.length;
  }
  return Buffer.concat(chunks);
}

/** Until it ends, however. */
async function readAll(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve) => {
    socket.once("end", resolve);
    socket.once("close", () => resolve());
  });
  return Buffer.concat(chunks);
}

function makeBytes(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, i) => (i * 31 + (i >> 8)) & 0xff));
}

describe("a shaped link", () => {
  it("passes bytes and ends both ways, and every byte is in its account", async () => {
    const link = await openLink(await echo());
    const socket = await connect(link);
    const bytes = makeBytes(300_000);
    const answer = readAll(socket);
    socket.end(bytes);
    expect((await answer).equals(bytes)).toBe(true);
    for (const direction of ["upstream", "downstream"] as const) {
      expect(link.account(direction)).toEqual({
        bytesIn: 300_000,
        bytesOut: 300_000,
        bytesLost: 0,
        bytesHeld: 0,
        bitsTurned: 0,
      });
    }
  });

  it("holds each direction's bytes up for its latency", async () => {
    const link = await openLink(await echo(), [
      { type: "latency", name: "there", direction: "upstream", latencyMs: 20 },
      { type: "latency", name: "back", latencyMs: 10 },
    ]);
    const socket = await connect(link);
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      const startMs = performance.now();
      socket.write("x");
      await read(socket, 1);
      times.push(performance.now() - startMs);
    }
    const least = Math.min(...times);
    expect(least).toBeGreaterThanOrEqual(29.9);
    expect(least).toBeLessThan(45);
  });

  it("lets bytes through at its bandwidth, whatever connections they are of", async () => {
    const link = await openLink(await echo(), [{ type: "bandwidth", name: "slow", bytesPerMs: 1000 }]);
    const sockets = [await connect(link), await connect(link)];
    const startMs = performance.now();
    for (const socket of sockets) socket.write(makeBytes(50_000));
    await Promise.all(sockets.map((socket) => read(socket, 50_000)));
    const elapsedMs = performance.now() - startMs;
    expect(elapsedMs).toBeGreaterThanOrEqual(98);
    expect(elapsedMs).toBeLessThan(200);
  });

  it("never lets jitter change the order of bytes", async () => {
    const link = await openLink(await echo(), [
      { type: "latency", name: "jitter", latencyMs: 4, jitterMs: 4 },
      { type: "slicer", name: "slices", averageBytes: 100, variationBytes: 50, delayMs: 0 },
    ]);
    const socket = await connect(link);
    const bytes = makeBytes(20_000);
    socket.write(bytes);
    expect((await read(socket, 20_000)).equals(bytes)).toBe(true);
  });

  it("stops reading a source whose bytes nobody takes", async () => {
    const port = await listen((socket) => {
      socket.pause();
    });
    const link = await openLink(port, [], 64 * 1024);
    const socket = await connect(link);
    socket.write(Buffer.alloc(32 * 2 ** 20));
    let before = -1;
    while (link.account("upstream").bytesIn !== before || before <= 0) {
      before = link.account("upstream").bytesIn;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(before).toBeLessThan(16 * 2 ** 20);
    expect(link.account("upstream").bytesHeld).toBeLessThan(512 * 1024);
  });

  it("ends a connection when a limit is reached, with exactly that many bytes", async () => {
    const link = await openLink(await echo(), [{ type: "limit_data", name: "limit", bytes: 1234 }]);
    const socket = await connect(link);
    const answer = readAll(socket);
    socket.write(makeBytes(5000));
    expect((await answer).equals(makeBytes(5000).subarray(0, 1234))).toBe(true);
    const { bytesIn, bytesOut, bytesLost, bytesHeld } = link.account("downstream");
    expect(bytesOut).toBe(1234);
    expect(bytesIn).toBe(bytesOut + bytesLost + bytesHeld);
  });

  it("turns the same bits for the same seed, and counts them", async () => {
    const corrupt = async (): Promise<{ readonly bytes: Buffer; readonly bits: number }> => {
      const link = await openLink(await echo(), [{ type: "corrupt", name: "noise", everyBytes: 500 }]);
      const socket = await connect(link);
      socket.write(makeBytes(10_000));
      return { bytes: await read(socket, 10_000), bits: link.account("downstream").bitsTurned };
    };
    const [first, second] = [await corrupt(), await corrupt()];
    const wrong = makeBytes(10_000).filter((byte, i) => byte !== first.bytes[i]).length;
    expect(first.bits).toBe(wrong);
    expect(wrong).toBeGreaterThan(3);
    expect(second.bytes.equals(first.bytes)).toBe(true);
  });

  it("resets, times out, and closes late as it is told", async () => {
    const reset = await connect(await openLink(await echo(), [{ type: "reset_peer", name: "rst", timeoutMs: 5 }]));
    const [error] = (await once(reset, "error")) as [NodeJS.ErrnoException];
    expect(error.code).toBe("ECONNRESET");

    const silent = await connect(await openLink(await echo(), [{ type: "timeout", name: "dead", timeoutMs: 30 }]));
    silent.write("lost");
    expect((await readAll(silent)).length).toBe(0);

    const late = await connect(await openLink(await echo(), [{ type: "slow_close", name: "late", delayMs: 40 }]));
    const startMs = performance.now();
    late.end("x");
    expect((await readAll(late)).toString()).toBe("x");
    expect(performance.now() - startMs).toBeGreaterThanOrEqual(39);
  });

  it("swallows bytes of a half-open connection, and goes on when that is over", async () => {
    const link = await openLink(await echo(), [{ type: "half_open", name: "gone" }]);
    const socket = await connect(link);
    socket.write("lost");
    while (link.account("downstream").bytesLost < 4) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(link.remove("gone")).toBe(true);
    expect(link.remove("gone")).toBe(false);
    socket.write("here");
    expect((await read(socket, 4)).toString()).toBe("here");
  });

  it("takes connections that never reach the target while that is so", async () => {
    let reached = 0;
    const link = await openLink(await listen(() => (reached += 1)), [{ type: "accept_only", name: "deaf" }]);
    const socket = await connect(link);
    socket.write("x");
    while (link.connections.failed === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(reached).toBe(0);
    expect(socket.destroyed).toBe(false);
  });

  it("meets a share of the connections, the same ones for the same seed", async () => {
    const draw = async (): Promise<string> => {
      const link = await openLink(await echo(), [{ type: "limit_data", name: "some", toxicity: 0.5, bytes: 0 }]);
      let met = "";
      for (let i = 0; i < 12; i++) {
        const socket = await connect(link);
        const outcome = Promise.race([once(socket, "end").then(() => "1"), once(socket, "data").then(() => "0")]);
        socket.write("x");
        met += await outcome;
      }
      return met;
    };
    const first = await draw();
    expect(first).toMatch(/0/);
    expect(first).toMatch(/1/);
    expect(await draw()).toBe(first);
  });

  it("refuses figures that make no sense, and names that are taken", async () => {
    const link = await openLink(await echo(), [{ type: "latency", name: "a", latencyMs: 1 }]);
    const add = (toxic: Toxic) => () => link.add(toxic);
    expect(add({ type: "latency", name: "a", latencyMs: 1 })).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(add({ type: "latency", name: "b", latencyMs: -1 })).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(add({ type: "bandwidth", name: "c", bytesPerMs: 0 })).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(add({ type: "half_open", name: "d", toxicity: 2 })).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(link.toxics.map(({ name }) => name)).toEqual(["a"]);
  });

  it("resets who comes while the target is not there", async () => {
    const port = await echo();
    const link = await openLink(port === 1 ? 2 : 1);
    const socket = createConnection({ port: link.port, host: "127.0.0.1" });
    await once(socket, "error");
    expect(link.connections).toEqual({ open: 0, accepted: 1, failed: 1 });
  });
});
