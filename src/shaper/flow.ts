import type { Socket } from "node:net";
import { must } from "../common/index.ts";
import type { Ledger } from "./account.ts";
import { Alarm } from "./alarm.ts";
import { slice } from "./slice.ts";
import type { ActiveToxic } from "./toxics.ts";

export interface FlowOptions {
  readonly source: Socket;
  readonly sink: Socket;
  /** Those that meet this connection in this direction now, in the order in which they were added. */
  readonly toxics: () => readonly ActiveToxic[];
  readonly ledger: Ledger;
  readonly random: () => number;
  /** Until when the link is taken by bytes that left before, by bandwidth toxic. */
  readonly busyUntilMs: Map<string, number>;
  /** Bytes under way at most: the source is not read beyond it. */
  readonly maxHeldBytes: number;
  /** Ends the connection. */
  readonly cut: (how: "close" | "reset") => void;
}

/** Bytes, or the end (null), and when they leave. */
interface Held {
  readonly bytes: Buffer | null;
  readonly dueMs: number;
}

/** A piece is put on a slow link in so many ms at most, so that its bytes trickle as those of a link do. */
const PIECE_MS = 2;
const LEAST_PIECE_BYTES = 256;

/** One direction of a connection: what comes waits until it is due, in order, and leaves as fast as it is taken. */
export class Flow {
  readonly #options: FlowOptions;
  readonly #held: Held[] = [];
  readonly #alarm = new Alarm(() => this.#release());
  /** Bytes that a limit still lets pass, and bytes until the next turned bit, by toxic. */
  readonly #countdowns = new Map<string, number>();
  #heldBytes = 0;
  #lastDueMs = 0;
  #isBlocked = false;
  #isOver = false;

  constructor(options: FlowOptions) {
    this.#options = options;
    const { source, sink } = options;
    source.on("data", (chunk: Buffer) => this.#take(chunk));
    source.on("end", () => this.#takeEnd());
    sink.on("drain", () => {
      this.#isBlocked = false;
      this.#release();
    });
  }

  /** Forgets what is under way. */
  stop(): void {
    this.#isOver = true;
    this.#alarm.stop();
    this.#held.length = 0;
    this.#options.ledger.lose(this.#heldBytes);
    this.#heldBytes = 0;
  }

  #take(chunk: Buffer): void {
    const { ledger, toxics, source, maxHeldBytes } = this.#options;
    ledger.take(chunk.length);
    if (this.#isOver) return ledger.lose(chunk.length);
    const active = toxics();
    if (active.some(({ type }) => type === "half_open" || type === "timeout")) return ledger.lose(chunk.length);
    const { bytes, isLast } = this.#limit(chunk, active);
    this.#corrupt(bytes, active);
    for (const piece of this.#cutUp(bytes, active)) this.#hold(piece, this.#findDue(piece.length, active));
    ledger.lose(chunk.length - bytes.length);
    if (isLast) this.#hold(null, this.#lastDueMs);
    if (this.#heldBytes > maxHeldBytes) source.pause();
    this.#release();
  }

  #takeEnd(): void {
    if (this.#isOver) return;
    const active = this.#options.toxics();
    if (active.some(({ type }) => type === "half_open" || type === "timeout")) return;
    let dueMs = this.#findDue(0, active);
    for (const toxic of active) if (toxic.type === "slow_close") dueMs += toxic.delayMs;
    this.#hold(null, dueMs);
    this.#release();
  }

  #limit(chunk: Buffer, active: readonly ActiveToxic[]): { readonly bytes: Buffer; readonly isLast: boolean } {
    let bytes = chunk;
    let isLast = false;
    for (const toxic of active) {
      if (toxic.type !== "limit_data") continue;
      const left = this.#countdowns.get(toxic.name) ?? toxic.bytes;
      bytes = bytes.subarray(0, left);
      this.#countdowns.set(toxic.name, left - bytes.length);
      isLast ||= left - bytes.length === 0;
    }
    return { bytes, isLast };
  }

  #corrupt(bytes: Buffer, active: readonly ActiveToxic[]): void {
    const { random, ledger } = this.#options;
    for (const toxic of active) {
      if (toxic.type !== "corrupt") continue;
      const draw = (): number => Math.floor(-Math.log(1 - random()) * toxic.everyBytes);
      let next = this.#countdowns.get(toxic.name) ?? draw();
      for (; next < bytes.length; next += 1 + draw()) {
        bytes[next] = must(bytes[next], "byte") ^ (1 << Math.floor(8 * random()));
        ledger.turnBit();
      }
      this.#countdowns.set(toxic.name, next - bytes.length);
    }
  }

  #cutUp(bytes: Buffer, active: readonly ActiveToxic[]): readonly Buffer[] {
    let pieces: readonly Buffer[] = bytes.length === 0 ? [] : [bytes];
    for (const toxic of active) {
      if (toxic.type === "bandwidth") {
        const most = Math.max(LEAST_PIECE_BYTES, Math.floor(PIECE_MS * toxic.bytesPerMs));
        pieces = pieces.flatMap((piece) => slice(piece, () => most));
      } else if (toxic.type === "slicer") {
        const { averageBytes, variationBytes = 0 } = toxic;
        const size = (): number =>
          Math.max(1, Math.round(averageBytes + (2 * this.#options.random() - 1) * variationBytes));
        pieces = pieces.flatMap((piece) => slice(piece, size));
      }
    }
    return pieces;
  }

  #findDue(bytes: number, active: readonly ActiveToxic[]): number {
    const { random, busyUntilMs } = this.#options;
    let atMs = performance.now();
    for (const toxic of active) {
      if (toxic.type === "latency") atMs += toxic.latencyMs + (2 * random() - 1) * (toxic.jitterMs ?? 0);
      else if (toxic.type === "slicer") atMs = Math.max(atMs, this.#lastDueMs + (toxic.delayMs ?? 0));
      else if (toxic.type === "bandwidth") {
        atMs = Math.max(atMs, busyUntilMs.get(toxic.name) ?? 0) + bytes / toxic.bytesPerMs;
        busyUntilMs.set(toxic.name, atMs);
      }
    }
    // One connection: nothing overtakes.
    this.#lastDueMs = Math.max(this.#lastDueMs, atMs);
    return this.#lastDueMs;
  }

  #hold(bytes: Buffer | null, dueMs: number): void {
    this.#held.push({ bytes, dueMs });
    this.#heldBytes += bytes?.length ?? 0;
  }

  #release(): void {
    const { source, sink, ledger, maxHeldBytes, cut } = this.#options;
    const nowMs = performance.now();
    let count = 0;
    for (; count < this.#held.length && !this.#isBlocked && !this.#isOver; count++) {
      const { bytes, dueMs } = must(this.#held[count], "held bytes");
      if (dueMs > nowMs) break;
      if (bytes === null) {
        if (source.readableEnded) sink.end();
        else cut("close");
        continue;
      }
      this.#heldBytes -= bytes.length;
      ledger.give(bytes.length);
      this.#isBlocked = !sink.write(bytes);
    }
    this.#held.splice(0, count);
    if (this.#isOver) return;
    this.#alarm.set(this.#isBlocked ? Number.POSITIVE_INFINITY : (this.#held[0]?.dueMs ?? Number.POSITIVE_INFINITY));
    if (source.isPaused() && this.#heldBytes <= maxHeldBytes / 2) source.resume();
  }
}
