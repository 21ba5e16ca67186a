import { median } from "../common/index.ts";
import type { Link } from "../placement/index.ts";
import { type RatioChange, RatioTrack } from "./ratio-track.ts";
import type { LinkFactor, LoopOptions } from "./types.ts";

/** A way is told to be another from half as much again; its times spread more than an engine's. */
const LEAST_CHANGE = 1.5;
const LEAST_SIGMA = 0.1;
const WINDOW = 64;
/** Latency and bandwidth can be told apart when some frames are so many times as large as others. */
const APART = 4;
/** Frames of each size, at least. */
const LEAST_FRAMES = 4;
/** No hop between two processes takes less, whatever a file says of the way: beside it, nothing is compared. */
const LEAST_LATENCY_MS = 0.1;
/** Where the bytes take less than this part of the planned time, frames of one size tell of the latency. */
const LATENCY_SHARE = 0.9;

export interface LinkFinding {
  readonly type: "measured" | "changed";
  readonly from: number;
  readonly to: number;
  /** Of a frame, the median of the last ones. */
  readonly frameMs: number;
  readonly plannedMs: number;
  readonly change: RatioChange | null;
}

interface Frame {
  readonly bytes: number;
  readonly ms: number;
}

/** One hop's times beside what the cluster's file says of its link. */
export class LinkWatch {
  readonly from: string;
  readonly to: string;
  /** As planned, at least what any hop takes. */
  readonly link: Link;
  readonly #track: RatioTrack;
  readonly #frames: Frame[] = [];
  #isTold = false;

  constructor(from: string, to: string, link: Link, { halfLifeMs = 45_000 }: Pick<LoopOptions, "halfLifeMs">) {
    this.from = from;
    this.to = to;
    this.link = { ...link, latencyMs: Math.max(LEAST_LATENCY_MS, link.latencyMs) };
    this.#track = new RatioTrack({ halfLifeMs, leastChange: LEAST_CHANGE, leastSigma: LEAST_SIGMA });
  }

  add(atMs: number, bytes: number, ms: number): LinkFinding | null {
    if (!(ms > 0)) return null;
    this.#frames.push({ bytes, ms });
    if (this.#frames.length > WINDOW) this.#frames.shift();
    const change = this.#track.add(atMs, ms, this.#planMs(bytes));
    const { ratio } = this.#track;
    if (ratio === null) return null;
    if (!this.#isTold) {
      this.#isTold = true;
      return { type: "measured", from: 1, to: ratio, ...this.#compare(), change: null };
    }
    if (change === null) return null;
    // What is older belongs to the link as it was.
    this.#frames.splice(0, Math.max(0, this.#frames.length - change.steps));
    return { type: "changed", from: change.from, to: change.to, ...this.#compare(), change };
  }

  get suspicious(): boolean {
    return this.#track.suspicious;
  }

  get known(): boolean {
    return this.#track.ratio !== null;
  }

  get levelSigma(): number {
    return this.#track.levelSigma;
  }

  forgetBlocks(): void {
    this.#track.forgetBlock();
  }

  /**
   * The link as it was measured. Where all frames are of one size, latency and time of a byte grew alike, or the latency
   * alone where bytes hardly counted.
   */
  measure(): Link {
    const { ratio } = this.#track;
    if (ratio === null) return this.link;
    const apart = this.#tellApart();
    if (apart !== null) return { ...this.link, ...apart };
    const { latencyMs, bytesPerMs } = this.link;
    const plannedMs = median(this.#frames.map(({ bytes }) => this.#planMs(bytes)));
    if (latencyMs < LATENCY_SHARE * plannedMs)
      return { ...this.link, latencyMs: latencyMs * ratio, bytesPerMs: bytesPerMs / ratio };
    return { ...this.link, latencyMs: Math.max(LEAST_LATENCY_MS, latencyMs + (ratio - 1) * plannedMs) };
  }

  list(): LinkFactor {
    const { latencyMs, bytesPerMs } = this.measure();
    return {
      from: this.from,
      to: this.to,
      latency: latencyMs / this.link.latencyMs,
      bandwidth: bytesPerMs / this.link.bytesPerMs,
      samples: this.#track.samples,
    };
  }

  #planMs(bytes: number): number {
    return this.link.latencyMs + bytes / this.link.bytesPerMs;
  }

  #compare(): Pick<LinkFinding, "frameMs" | "plannedMs"> {
    return {
      frameMs: median(this.#frames.map(({ ms }) => ms)),
      plannedMs: median(this.#frames.map(({ bytes }) => this.#planMs(bytes))),
    };
  }

  /** A line through the medians of small and of large frames. */
  #tellApart(): { readonly latencyMs: number; readonly bytesPerMs: number } | null {
    const sizes = this.#frames.map(({ bytes }) => bytes);
    const [least, most] = [Math.min(...sizes), Math.max(...sizes)];
    if (!(least > 0) || most < APART * least) return null;
    const border = Math.sqrt(least * most);
    const small = this.#frames.filter(({ bytes }) => bytes < border);
    const large = this.#frames.filter(({ bytes }) => bytes >= border);
    if (small.length < LEAST_FRAMES || large.length < LEAST_FRAMES) return null;
    const [fromBytes, toBytes] = [median(small.map(({ bytes }) => bytes)), median(large.map(({ bytes }) => bytes))];
    const [fromMs, toMs] = [median(small.map(({ ms }) => ms)), median(large.map(({ ms }) => ms))];
    const msPerByte = (toMs - fromMs) / (toBytes - fromBytes);
    if (!(msPerByte > 0)) return null;
    return { latencyMs: Math.max(0, fromMs - fromBytes * msPerByte), bytesPerMs: 1 / msPerByte };
  }
}
