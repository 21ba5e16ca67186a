const time = new Float64Array(1);
const halves = new Uint32Array(time.buffer);
/** Of the two halves of a double, where the low one lies: the same hash on machines of either byte order. */
const LOW = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1 ? 0 : 1;

/** A fingerprint of a log of events: two runs with the same are the same, event for event and bit for bit. */
export class EventHash {
  #a = 0x811c9dc5 | 0;
  #b = 0x01000193 | 0;

  add(timeMs: number, kind: number, subject: number): void {
    time[0] = timeMs;
    const low = halves[LOW] as number;
    const high = halves[1 - LOW] as number;
    let a = Math.imul(this.#a ^ low, 0x9e3779b1);
    a = Math.imul(a ^ (a >>> 15) ^ subject, 0x85ebca77);
    let b = Math.imul(this.#b ^ high ^ kind, 0xc2b2ae3d);
    b = Math.imul(b ^ (b >>> 13) ^ a, 0x27d4eb2f);
    this.#a = a ^ (a >>> 16);
    this.#b = b ^ (b >>> 15);
  }

  /** 16 hexadecimal digits. */
  toString(): string {
    return [this.#a, this.#b].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
