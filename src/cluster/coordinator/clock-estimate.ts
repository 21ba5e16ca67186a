/** One round trip to a peer that told its clock on the way. Times of this side are of this side's monotonic clock. */
export interface ClockSample {
  readonly sentNs: number;
  readonly receivedNs: number;
  /** The peer's clock at the writing of its answer. */
  readonly peerNs: number;
  /** Time inside the peer, up to the writing of its answer. */
  readonly insideNs: number;
}

export interface ClockOffset {
  /** Peer's clock minus this side's. */
  readonly offsetNs: number;
  /** The offset is wrong by at most this, if the clocks drift by at most what is allowed for. */
  readonly uncertaintyNs: number;
  /** Of the round trip that it comes from, the time inside the peer left out. */
  readonly rttNs: number;
}

const KEPT_SAMPLES = 16;

/** Two quartz clocks that run free drift apart by this at most, nearly always; a disciplined one by less. */
const DRIFT_PER_NS = 50e-6;

/**
 * How far a peer's monotonic clock is from this side's. The peer answered at some time between the sending and the
 * receiving: the middle is the estimate, half of the way is what it may be off. The quickest of the last round trips
 * knows best; an old one loses what the clocks may have drifted since. Pure: takes no clock.
 */
export class ClockEstimate {
  readonly #samples: { readonly offsetNs: number; readonly halfNs: number; readonly atNs: number }[] = [];

  add(sample: ClockSample): void {
    const { sentNs, receivedNs, peerNs } = sample;
    const wholeNs = receivedNs - sentNs;
    if (!(wholeNs >= 0) || !Number.isFinite(peerNs)) return;
    // A peer that claims to have taken longer than the whole trip took is not believed.
    const insideNs = Math.min(Math.max(0, sample.insideNs), wholeNs);
    const middleNs = sentNs + wholeNs / 2;
    const halfNs = (wholeNs - insideNs) / 2;
    this.#samples.push({ offsetNs: peerNs - insideNs / 2 - middleNs, halfNs, atNs: receivedNs });
    if (this.#samples.length > KEPT_SAMPLES) this.#samples.shift();
  }

  /** @returns null before the first sample */
  best(nowNs: number): ClockOffset | null {
    let best: ClockOffset | null = null;
    for (const { offsetNs, halfNs, atNs } of this.#samples) {
      const uncertaintyNs = halfNs + Math.max(0, nowNs - atNs) * DRIFT_PER_NS;
      if (best !== null && uncertaintyNs >= best.uncertaintyNs) continue;
      best = { offsetNs: Math.round(offsetNs), uncertaintyNs: Math.ceil(uncertaintyNs), rttNs: Math.round(2 * halfNs) };
    }
    return best;
  }
}
