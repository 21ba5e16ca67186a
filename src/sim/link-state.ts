import { expOf } from "./elementary.ts";
import { Random } from "./random.ts";
import type { Loss, SimLink } from "./types.ts";

/** Of the logarithm of the jitter. */
const JITTER_SIGMA = 0.75;
/** Of a lognormal value with this sigma: mean / standard deviation. */
const JITTER_MEAN = 1 / Math.sqrt(expOf(JITTER_SIGMA * JITTER_SIGMA) - 1);
/** How much of a message's jitter the next one has, too. */
const JITTER_MEMORY = 0.5;
const JITTER_FRESH = Math.sqrt(1 - JITTER_MEMORY * JITTER_MEMORY);
/** A message that is lost so often in a row gets through. */
const MOST_LOSSES = 8;
/** Of the messages in a spell of loss, where not more than that are lost anyway. */
const LOST_IN_BURST = 0.5;

/** One direction of a link while the simulation runs. */
export class LinkState {
  readonly from: string;
  readonly to: string;
  bytes = 0;
  messages = 0;
  lost = 0;
  /** Time in which bytes were put on it. */
  busyMs = 0;
  /** Of the last message. */
  messageBytes = 0;
  /** When the bytes of the last message began to leave. */
  startMs = 0;
  #latencyMs: number;
  #bytesPerMs: number;
  #freeMs = 0;
  #lastArrivalMs = 0;
  #jitter = 0;
  #change = 0;
  readonly #link: SimLink;
  readonly #random: Random | null;
  readonly #bursts: Bursts | null;

  constructor(link: SimLink, seed: number) {
    const name = `${link.from}>${link.to}`;
    this.from = link.from;
    this.to = link.to;
    this.#link = link;
    this.#latencyMs = link.latencyMs;
    this.#bytesPerMs = link.bytesPerMs;
    this.#random = (link.jitterMs ?? 0) > 0 ? new Random(seed, `jitter ${name}`) : null;
    this.#bursts = link.loss === undefined ? null : new Bursts(link.loss, new Random(seed, `loss ${name}`));
  }

  /** Of an empty message that meets nothing on its way, as of the last send. */
  get latencyMs(): number {
    return this.#latencyMs;
  }

  /** When the bytes of the last message had left. */
  get leftMs(): number {
    return this.#freeMs;
  }

  /** Puts a message on the link. @param atMs never before that of the last message @returns time of its arrival */
  send(atMs: number, bytes: number): number {
    if (this.#link.changes !== undefined) this.#follow(atMs);
    const startMs = atMs > this.#freeMs ? atMs : this.#freeMs;
    const transferMs = bytes / this.#bytesPerMs;
    this.startMs = startMs;
    this.#freeMs = startMs + transferMs;
    this.bytes += bytes;
    this.messageBytes = bytes;
    this.messages += 1;
    this.busyMs += transferMs;
    let arrivalMs = this.#freeMs + this.#latencyMs;
    if (this.#random !== null) arrivalMs += this.#drawJitter(this.#random);
    if (this.#bursts !== null) {
      const losses = this.#bursts.countLosses(startMs);
      this.lost += losses;
      arrivalMs += losses * this.#bursts.retransmitMs;
    }
    // One connection: nothing overtakes.
    if (arrivalMs < this.#lastArrivalMs) arrivalMs = this.#lastArrivalMs;
    this.#lastArrivalMs = arrivalMs;
    return arrivalMs;
  }

  #follow(atMs: number): void {
    for (;;) {
      const next = this.#link.changes?.[this.#change];
      if (next === undefined || next.atMs > atMs) return;
      this.#latencyMs = next.latencyMs;
      this.#bytesPerMs = next.bytesPerMs;
      this.#change += 1;
    }
  }

  #drawJitter(random: Random): number {
    this.#jitter = JITTER_MEMORY * this.#jitter + JITTER_FRESH * random.normal();
    const factor = expOf(JITTER_SIGMA * this.#jitter - 0.5 * JITTER_SIGMA * JITTER_SIGMA);
    return (this.#link.jitterMs ?? 0) * JITTER_MEAN * factor;
  }
}

/** Two states that take turns for exponential times; messages are lost in one of them only. */
class Bursts {
  readonly retransmitMs: number;
  #inBurst: boolean;
  #untilMs = Number.POSITIVE_INFINITY;
  readonly #lostInBurst: number;
  readonly #meanMs: { readonly burst: number; readonly quiet: number };
  readonly #random: Random;

  constructor({ ratio, burstMs, retransmitMs }: Loss, random: Random) {
    this.retransmitMs = retransmitMs;
    this.#random = random;
    const always = burstMs === 0 || ratio === 0;
    this.#lostInBurst = always ? ratio : Math.max(LOST_IN_BURST, ratio);
    const share = always ? 1 : ratio / this.#lostInBurst;
    this.#meanMs = { burst: burstMs, quiet: (burstMs * (1 - share)) / share };
    this.#inBurst = share === 1;
    if (!this.#inBurst) this.#untilMs = random.exponential(this.#meanMs.quiet);
  }

  /** How often a message that is sent now has to be sent again. */
  countLosses(atMs: number): number {
    while (this.#untilMs <= atMs) {
      this.#inBurst = !this.#inBurst;
      this.#untilMs += this.#random.exponential(this.#inBurst ? this.#meanMs.burst : this.#meanMs.quiet);
    }
    if (!this.#inBurst) return 0;
    let losses = 0;
    while (losses < MOST_LOSSES && this.#random.uniform() < this.#lostInBurst) losses += 1;
    return losses;
  }
}
