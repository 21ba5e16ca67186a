/**
 * What a hop adds: from before a frame is encoded in one process until another process on this machine has decoded it
 * (one way), and until its acknowledgement is back (round trip). One frame at a time; formulas in METHODOLOGY.md.
 *
 *   npx tsx bench/hop.ts [--quick]
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Frame } from "../src/protocol/index.ts";
import { connectSender, DIRECTIONS, type Direction, listenSender, type Sender } from "./hop-link.ts";
import type { ReceiverOrder } from "./hop-receiver.ts";
import { quantile } from "../src/common/index.ts";
import { describeMachine } from "./lib.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

export interface HopBenchOptions {
  /** @default 64 KiB, 1 MiB, 4 MiB */
  readonly windowsBytes?: readonly number[];
  /** Bytes of hidden states in a frame. @default 768, 8 KiB, 512 KiB, 2 MiB */
  readonly payloadsBytes?: readonly number[];
  /** Share of the full number of frames; 1 takes about a minute. @default 1 */
  readonly effort?: number;
  readonly onRow?: (row: HopRow) => void;
}

export interface HopRow {
  readonly bench: "hop";
  readonly direction: Direction;
  readonly window_bytes: number;
  readonly payload_bytes: number;
  readonly frames: number;
  readonly one_way_ms_p50: number;
  readonly one_way_ms_p99: number;
  readonly round_trip_ms_p50: number;
  readonly round_trip_ms_p99: number;
}

/** A frame that does not come back within this time ends the benchmark. */
const FRAME_TIMEOUT_MS = 10_000;

/** Runs all combinations, directions of one setting next to each other. Ends its receiver process. */
export async function runHopBench(options: HopBenchOptions = {}): Promise<HopRow[]> {
  const {
    windowsBytes = [64 * KIB, MIB, 4 * MIB],
    payloadsBytes = [768, 8 * KIB, 512 * KIB, 2 * MIB],
    effort = 1,
  } = options;
  const child = fork(fileURLToPath(new URL("hop-receiver.ts", import.meta.url)), { execArgv: ["--import", "tsx"] });
  const rows: HopRow[] = [];
  try {
    for (const windowBytes of windowsBytes) {
      for (const direction of DIRECTIONS) {
        const hop = await Hop.open(child, direction, windowBytes);
        for (const payloadBytes of payloadsBytes) {
          const row = await measure(hop, direction, windowBytes, payloadBytes, effort);
          rows.push(row);
          options.onRow?.(row);
        }
        await hop.close();
      }
    }
  } finally {
    child.disconnect();
  }
  return rows;
}

async function measure(
  hop: Hop,
  direction: Direction,
  windowBytes: number,
  payloadBytes: number,
  effort: number,
): Promise<HopRow> {
  const frames = Math.max(20, Math.round((payloadBytes > 64 * KIB ? 300 : 5000) * effort));
  // The compiler has seen the path by then, and the windows have opened.
  for (let index = 0; index < frames / 2; index++) await hop.pass(makeFrame(payloadBytes, index));
  const oneWayMs: number[] = [];
  const roundTripMs: number[] = [];
  for (let index = 0; index < frames; index++) {
    const times = await hop.pass(makeFrame(payloadBytes, index));
    oneWayMs.push(times.oneWayMs);
    roundTripMs.push(times.roundTripMs);
  }
  return {
    bench: "hop",
    direction,
    window_bytes: windowBytes,
    payload_bytes: payloadBytes,
    frames,
    one_way_ms_p50: quantile(oneWayMs, 0.5),
    one_way_ms_p99: quantile(oneWayMs, 0.99),
    round_trip_ms_p50: quantile(roundTripMs, 0.5),
    round_trip_ms_p99: quantile(roundTripMs, 0.99),
  };
}

/** A sender here, a receiver there, and one frame between them at a time. */
class Hop {
  readonly #sender: Sender;
  readonly #acks: AckSlot;

  private constructor(sender: Sender, acks: AckSlot) {
    this.#sender = sender;
    this.#acks = acks;
  }

  static async open(child: ChildProcess, direction: Direction, windowBytes: number): Promise<Hop> {
    const acks = new AckSlot();
    const onAck = (decodedNs: bigint): void => acks.fill(decodedNs);
    if (direction === "response") {
      const sender = await listenSender(windowBytes, onAck);
      await order(child, { windowBytes, address: sender.address });
      return new Hop(sender, acks);
    }
    const address = await order(child, { windowBytes, address: null });
    if (address === null) throw new Error("the receiver does not listen");
    return new Hop(await connectSender(direction, address, windowBytes, onAck), acks);
  }

  async pass(frame: Frame): Promise<{ oneWayMs: number; roundTripMs: number }> {
    const acked = this.#acks.wait();
    const startNs = process.hrtime.bigint();
    this.#sender.send(frame);
    const { decodedNs, ackNs } = await acked;
    return { oneWayMs: Number(decodedNs - startNs) / 1e6, roundTripMs: Number(ackNs - startNs) / 1e6 };
  }

  close(): Promise<void> {
    return this.#sender.close();
  }
}

interface AckTimes {
  readonly decodedNs: bigint;
  readonly ackNs: bigint;
}

/** Hands the next acknowledgement to the one who waits. */
class AckSlot {
  #resolve: ((times: AckTimes) => void) | null = null;

  wait(): Promise<AckTimes> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer within ${FRAME_TIMEOUT_MS} ms`)), FRAME_TIMEOUT_MS);
      this.#resolve = (times) => {
        clearTimeout(timer);
        resolve(times);
      };
    });
  }

  fill(decodedNs: bigint): void {
    this.#resolve?.({ decodedNs, ackNs: process.hrtime.bigint() });
  }
}

async function order(child: ChildProcess, what: ReceiverOrder): Promise<string | null> {
  const answer = once(child, "message") as Promise<[{ address: string | null }]>;
  const gone = once(child, "exit").then(() => Promise.reject(new Error("the receiver process ended")));
  child.send(what);
  const [{ address }] = await Promise.race([answer, gone]);
  return address;
}

/** A decode step of one row, or a prefill chunk where the payload is longer than a row. */
function makeFrame(payloadBytes: number, stepId: number): Frame {
  const values = payloadBytes / 4;
  const width = Math.min(values, 2048);
  const rows = values / width;
  return {
    epoch: 1,
    stepId,
    observe: "off",
    runs: [
      {
        sessionId: "0".repeat(32),
        fence: 0,
        branch: 0,
        position: stepId,
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
    hidden: new Float32Array(values).fill(1.25),
  };
}

function padMs(value: number): string {
  return value.toFixed(3).padStart(9);
}

function formatRow(row: HopRow): string {
  return [
    row.direction.padEnd(16),
    `${row.window_bytes / KIB}`.padStart(6),
    `${row.payload_bytes}`.padStart(9),
    padMs(row.one_way_ms_p50),
    padMs(row.one_way_ms_p99),
    padMs(row.round_trip_ms_p50),
    padMs(row.round_trip_ms_p99),
  ].join(" ");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const machine = describeMachine();
  const rows = await runHopBench({
    effort: process.argv.includes("--quick") ? 0.05 : 1,
    onRow: (row) => console.log(JSON.stringify({ schema: "noodle.bench.v1", ...row, machine })),
  });
  console.error("direction        window   payload   one way       p99  round trip      p99   (KiB, bytes, ms)");
  for (const row of rows) console.error(formatRow(row));
}
