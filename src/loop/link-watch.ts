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

export interface LinkFinding {
  readonly type: "measured" | "changed";
  readonly from: number;
  readonly to: number;
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
  readonly link: Link;
  readonly #track: RatioTrack;
  readonly #frames: Frame[] = [];
  #isTold = false;

  constructor(from: string, to: string, link: Link, { halfLifeMs = 45_000 }: Pick<LoopOptions, "halfLifeMs">) {
    this.from = from;
    this.to = to;
    this.link = link;
    this.#track = new RatioTrack({ halfLifeMs, leastChange: LEAST_CHANGE, leastSigma: LEAST_SIGMA });
  }

  add(atMs: number, bytes: number, ms: number): LinkFinding | null {
    if (!(ms > 0)) return null;
    this.#frames.push({ bytes, ms });
    if (this.#frames.length > WINDOW) this.#frames.shift();
    const { latencyMs, bytesPerMs } = this.link;
    const change = this.#track.add(atMs, ms, latencyMs + bytes / bytesPerMs);
    const { ratio } = this.#track;
    if (ratio === null) return null;
    if (!this.#isTold) {
      this.#isTold = true;
      return { type: "measured", from: 1, to: ratio, change: null };
    }
    if (change === null) return null;
    // What is older belongs to the link as it was.
    this.#frames.splice(0, Math.max(0, this.#frames.length - change.steps));
    return { type: "changed", from: change.from, to: change.to, change };
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

  /** The link as it was measured; where all frames are of one size, latency and time of a byte grew alike. */
  measure(): Link {
    const { ratio } = this.#track;
    if (ratio === null) return this.link;
    const apart = this.#tellApart();
    return apart === null
      ? { ...this.link, latencyMs: this.link.latencyMs * ratio, bytesPerMs: this.link.bytesPerMs / ratio }
      : { ...this.link, ...apart };
  }

  list(): LinkFactor {
    const { latencyMs, bytesPerMs } = this.measure();
    return {
      from: this.from,
      to: this.to,
      latency: this.link.latencyMs > 0 ? latencyMs / this.link.latencyMs : 1,
      bandwidth: bytesPerMs / this.link.bytesPerMs,
      samples: this.#track.samples,
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
