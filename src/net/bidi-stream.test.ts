import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, it } from "vitest";
import { ackOfStep, chunkOf, Loopback, stepOf, turn, until } from "../../test/fixtures/loopback.ts";
import { NoodleError } from "../common/index.ts";
import {
  encodeFrameMessages,
  FrameAssembler,
  type ForwardReply,
  type ForwardRequest,
  type Frame,
  SampledTokenSchema,
  StepResultSchema,
} from "../protocol/index.ts";
import type { BidiStream, StreamListener } from "./index.ts";

const KIB = 1024;

let loopback: Loopback;
afterEach(() => loopback.close());

/** Notes all that a listener hears. */
class Recorder<In> implements StreamListener<In> {
  readonly messages: In[] = [];
  readonly events: string[] = [];

  onMessage(message: In): void {
    this.messages.push(message);
  }

  onEnd(): void {
    this.events.push("end");
  }

  onError(error: NoodleError): void {
    this.events.push(error.code);
  }
}

type ServerStream = BidiStream<Pick<ForwardReply, "message">, ForwardRequest>;

/** A server that hands its side of each stream to the test. */
async function startManual(options: Parameters<typeof Loopback.start>[1] = {}): Promise<() => Promise<ServerStream>> {
  const streams: ServerStream[] = [];
  loopback = await Loopback.start({ executeForward: (stream) => void streams.push(stream) }, options);
  return async () => {
    await until(() => streams.length > 0);
    return streams.shift() as ServerStream;
  };
}

describe("a stream in both directions", () => {
  it("echoes in order and ends well when both sides have ended", async () => {
    loopback = await Loopback.start();
    const stream = await loopback.client().rpc.executeForward();
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    for (let length = 0; length < 500; length++) stream.send(chunkOf(new Uint8Array(length)));
    stream.end();
    await until(() => heard.events.length > 0);
    expect(heard.events).toEqual(["end"]);
    expect(heard.messages.map(stepOf)).toEqual(Array.from({ length: 500 }, (_, index) => index));
    expect(stream.pendingBytes).toBe(0);
  });

  it("is read by a loop one message at a time", async () => {
    loopback = await Loopback.start();
    const stream = await loopback.client().rpc.executeForward();
    const steps: number[] = [];
    for (let length = 0; length < 50; length++) stream.send(chunkOf(new Uint8Array(length)));
    stream.end();
    for await (const reply of stream.messages()) {
      steps.push(stepOf(reply));
      await turn();
    }
    expect(steps).toEqual(Array.from({ length: 50 }, (_, index) => index));
  });

  it("carries frames, several messages long too, without changing a bit", async () => {
    const assembler = new FrameAssembler();
    const received: Uint8Array[] = [];
    const alignments: number[] = [];
    loopback = await Loopback.start({
      executeForward: async (stream) => {
        for await (const { message } of stream.messages()) {
          if (message.case !== "chunk") continue;
          const frame = assembler.push(message.value.data, message.value.last);
          if (frame === null) continue;
          received.push(Uint8Array.from(frame));
          if (frame === message.value.data) alignments.push(frame.byteOffset % 16);
          stream.send(ackOfStep(frame.length));
        }
        stream.end();
      },
    });
    const stream = await loopback.client().rpc.executeForward();
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    const frames = [1, 2, 64, 700].map((rows) => frameOf(rows, 2048));
    for (const frame of frames) for (const bytes of encodeFrameMessages(frame)) stream.sendEncoded(bytes);
    stream.end();
    await until(() => heard.events.length > 0);
    expect(heard.events).toEqual(["end"]);
    const sent = frames.map((frame) => {
      const joined = new FrameAssembler();
      let whole: Uint8Array | null = null;
      // Strip the envelope: what is left between prefix and suffix is the frame.
      for (const bytes of encodeFrameMessages(frame)) {
        const last = bytes.at(-1) === 1 && bytes.at(-2) === 16;
        whole = joined.push(bytes.subarray(11, last ? bytes.length - 2 : bytes.length), last);
      }
      return Buffer.from(whole as Uint8Array);
    });
    expect(received.map((bytes) => bytes.length)).toEqual(sent.map((bytes) => bytes.length));
    for (const [index, bytes] of sent.entries()) expect(bytes.equals(received[index] as Uint8Array)).toBe(true);
    // In place: the data of a frame of one message starts where a view of floats may.
    expect(alignments).toEqual([0, 0, 0]);
  });

  it("half-closes: the server goes on sending after the client has ended", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    stream.end();
    const server = await nextServer();
    const serverHeard = new Recorder<ForwardRequest>();
    server.listen(serverHeard);
    await until(() => serverHeard.events.length > 0);
    for (let step = 0; step < 5; step++) server.send(ackOfStep(step));
    server.end();
    await until(() => heard.events.length > 0);
    expect(heard.messages.map(stepOf)).toEqual([0, 1, 2, 3, 4]);
    expect([heard.events, serverHeard.events]).toEqual([["end"], ["end"]]);
  });

  it("keeps what came before the listener", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const server = await nextServer();
    server.send(ackOfStep(1));
    server.send(ackOfStep(2));
    server.end();
    // The status has arrived when this side can write no more.
    await until(() => fails(() => stream.send(chunkOf(new Uint8Array(1)))));
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    await until(() => heard.events.length > 0);
    expect(heard.messages.map(stepOf)).toEqual([1, 2]);
    expect(heard.events).toEqual(["end"]);
  });

  it("tells a late listener of the error that came before it", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    (await nextServer()).cancel(new NoodleError("STALE_EPOCH", "old"));
    await until(() => fails(() => stream.send(chunkOf(new Uint8Array(1)))));
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    expect(heard.events).toEqual(["STALE_EPOCH"]);
  });

  it("has one listener only, and refuses to send after its end", async () => {
    loopback = await Loopback.start();
    const stream = await loopback.client().rpc.executeForward();
    stream.listen(new Recorder());
    expect(() => stream.listen(new Recorder())).toThrow(expect.objectContaining({ code: "ILLEGAL_STATE" }));
    stream.end();
    stream.end();
    expect(() => stream.send(chunkOf(new Uint8Array(1)))).toThrow(expect.objectContaining({ code: "ILLEGAL_STATE" }));
  });

  it("brings the server's error to the client with its code", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    const server = await nextServer();
    const serverHeard = new Recorder<ForwardRequest>();
    server.listen(serverHeard);
    server.send(ackOfStep(1));
    server.cancel(new NoodleError("STEP_OUT_OF_ORDER", "have 5", { details: { have: 5 } }));
    await until(() => heard.events.length > 0);
    expect(heard.events).toEqual(["STEP_OUT_OF_ORDER"]);
    expect(serverHeard.events).toEqual(["STEP_OUT_OF_ORDER"]);
    expect(() => stream.send(chunkOf(new Uint8Array(1)))).toThrow(
      expect.objectContaining({ code: "STEP_OUT_OF_ORDER" }),
    );
  });

  it("tells the server that the client is gone when the client cancels, and ends both loops", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const server = await nextServer();
    const serverLoop = drain(server);
    const clientLoop = drain(stream);
    await turn();
    stream.cancel();
    await expect(clientLoop).resolves.toBe("INTERRUPTED");
    expect(["end", "PEER_DEAD"]).toContain(await serverLoop);
    await expectGone(server);
    await expect(server.write(ackOfStep(1))).rejects.toMatchObject({ code: "PEER_DEAD" });
  });

  it("is cancelled by the client's signal", async () => {
    const nextServer = await startManual();
    const abort = new AbortController();
    const stream = await loopback.client().rpc.executeForward({ signal: abort.signal });
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    const server = await nextServer();
    abort.abort();
    expect(heard.events).toEqual(["INTERRUPTED"]);
    await expectGone(server);
  });

  it("is cancelled when a loop over its messages is left", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const server = await nextServer();
    server.send(ackOfStep(1));
    for await (const reply of stream.messages()) {
      expect(stepOf(reply)).toBe(1);
      break;
    }
    await expectGone(server);
  });

  it("ends with TIMED_OUT when its time is over", async () => {
    const nextServer = await startManual();
    const client = loopback.client();
    await client.connect();
    const stream = await client.rpc.executeForward({ timeoutMs: 50 });
    await nextServer();
    await expect(drain(stream)).resolves.toBe("TIMED_OUT");
  });

  it("ends with the error that the handler or a listener throws", async () => {
    loopback = await Loopback.start({
      executeForward: async () => {
        await turn();
        throw new NoodleError("SESSION_LIMIT", "full");
      },
    });
    await expect(drain(await loopback.client().rpc.executeForward())).resolves.toBe("SESSION_LIMIT");
    await loopback.close();

    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const server = await nextServer();
    server.listen({
      onMessage: () => {
        throw new NoodleError("FRAME_CORRUPT", "bad");
      },
      onEnd: () => {},
      onError: () => {},
    });
    stream.send(chunkOf(new Uint8Array(1)));
    await expect(drain(stream)).resolves.toBe("FRAME_CORRUPT");
  });
});

describe("back-pressure", () => {
  const sizes = { flowControlWindowBytes: 128 * KIB, highWaterBytes: 512 * KIB };
  const messageBytes = 64 * KIB;
  const count = 400;

  it("bounds what a client's writer holds while the server does not read, and loses nothing", async () => {
    const nextServer = await startManual(sizes);
    const stream = await loopback.client(sizes).rpc.executeForward();
    stream.listen(new Recorder());
    const server = await nextServer();
    const progress = writeMany(stream, (index) => chunkOf(new Uint8Array(messageBytes).fill(index)));
    await until(() => stream.pendingBytes >= sizes.highWaterBytes);
    // The server has not read at all: nothing but the window can have left.
    const bound = (sizes.highWaterBytes + sizes.flowControlWindowBytes) / messageBytes + 2;
    for (let wait = 0; wait < 50; wait++) await turn();
    expect(progress.written).toBeLessThanOrEqual(bound);
    let received = 0;
    for await (const { message } of server.messages()) {
      if (message.case !== "chunk") throw new Error("not a chunk");
      expect(message.value.data[0]).toBe(received & 255);
      expect(stream.pendingBytes).toBeLessThanOrEqual(sizes.highWaterBytes + messageBytes + KIB);
      if (++received === count) break;
    }
    expect(received).toBe(count);
    expect(progress.error).toBeUndefined();
  });

  it("bounds what a server's writer holds while the client does not read, and loses nothing", async () => {
    const nextServer = await startManual(sizes);
    const stream = await loopback.client(sizes).rpc.executeForward();
    const server = await nextServer();
    server.listen(new Recorder());
    const logits = new Uint8Array(messageBytes);
    const progress = writeMany(server, (index) => resultOf(index, logits));
    await until(() => server.pendingBytes >= sizes.highWaterBytes);
    // The library of the client reads up to 16 messages ahead.
    const bound = (sizes.highWaterBytes + sizes.flowControlWindowBytes) / messageBytes + 16 + 2;
    for (let wait = 0; wait < 50; wait++) await turn();
    expect(progress.written).toBeLessThanOrEqual(bound);
    let received = 0;
    for await (const { message } of stream.messages()) {
      expect(message.case === "result" ? Number(message.value.stepId) : -1).toBe(received);
      if (++received === count) break;
    }
    expect(received).toBe(count);
  });

  it("lets a callback reader pause and go on", async () => {
    const nextServer = await startManual();
    const stream = await loopback.client().rpc.executeForward();
    const server = await nextServer();
    const heard = new Recorder<ForwardReply>();
    stream.listen(heard);
    server.send(ackOfStep(1));
    await until(() => heard.messages.length === 1);
    stream.pause();
    for (let step = 2; step < 40; step++) server.send(ackOfStep(step));
    await until(() => server.pendingBytes === 0);
    for (let wait = 0; wait < 20; wait++) await turn();
    expect(heard.messages.length).toBe(1);
    stream.resume();
    await until(() => heard.messages.length === 39);
    expect(heard.messages.map(stepOf)).toEqual(Array.from({ length: 39 }, (_, index) => index + 1));
  });

  it("wakes a writer that waits when the stream fails", async () => {
    const nextServer = await startManual(sizes);
    const stream = await loopback.client(sizes).rpc.executeForward();
    stream.listen(new Recorder());
    await nextServer();
    const progress = writeMany(stream, () => chunkOf(new Uint8Array(messageBytes)));
    await until(() => stream.pendingBytes >= sizes.highWaterBytes);
    await loopback.server.close(0);
    await until(() => progress.error !== undefined);
    expect(progress.error).toMatchObject({ code: "PEER_DEAD" });
  });

  function writeMany<Out>(stream: BidiStream<Out, unknown>, make: (index: number) => Out) {
    const progress: { written: number; error: unknown } = { written: 0, error: undefined };
    void (async () => {
      try {
        for (; progress.written < count; progress.written++) await stream.write(make(progress.written));
      } catch (error) {
        progress.error = error;
      }
    })();
    return progress;
  }
});

function fails(action: () => unknown): boolean {
  try {
    action();
    return false;
  } catch {
    return true;
  }
}

/** Waits until sending fails, since the other side is gone. */
async function expectGone(stream: ServerStream): Promise<void> {
  await until(() => fails(() => stream.send(ackOfStep(9))));
  expect(() => stream.send(ackOfStep(9))).toThrow(expect.objectContaining({ code: "PEER_DEAD" }));
}

/** Reads to the end; the code of the error that ended it, or "end". */
async function drain(stream: BidiStream<never, unknown>): Promise<string> {
  try {
    for await (const _message of stream.messages());
    return "end";
  } catch (error) {
    return (error as NoodleError).code;
  }
}

function resultOf(stepId: number, logits: Uint8Array): Pick<ForwardReply, "message"> {
  const token = create(SampledTokenSchema, { logits });
  return { message: { case: "result", value: create(StepResultSchema, { stepId: BigInt(stepId), tokens: [token] }) } };
}

function frameOf(rows: number, width: number): Frame {
  return {
    epoch: 1,
    stepId: rows,
    observe: "off",
    runs: [
      {
        sessionId: "0".repeat(32),
        fence: 0,
        branch: 0,
        position: 0,
        rows,
        slot: 0,
        output: "none",
        topLogprobs: null,
        following: null,
      },
    ],
    traces: [],
    pads: [],
    tokens: new Int32Array(rows),
    width,
    hidden: Float32Array.from({ length: rows * width }, (_, index) => Math.sin(index)),
  };
}
