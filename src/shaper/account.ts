/** What became of the bytes of one direction: in = out + lost + held, at any time. */
export interface Account {
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Not passed on: cut off, swallowed, or held when the connection ended. */
  readonly bytesLost: number;
  readonly bytesHeld: number;
  /** Of those that passed, turned bits. */
  readonly bitsTurned: number;
}

/** An account that is being kept. */
export class Ledger {
  #in = 0;
  #out = 0;
  #lost = 0;
  #bits = 0;

  take(bytes: number): void {
    this.#in += bytes;
  }

  give(bytes: number): void {
    this.#out += bytes;
  }

  lose(bytes: number): void {
    this.#lost += bytes;
  }

  turnBit(): void {
    this.#bits += 1;
  }

  read(): Account {
    const bytesHeld = this.#in - this.#out - this.#lost;
    return { bytesIn: this.#in, bytesOut: this.#out, bytesLost: this.#lost, bytesHeld, bitsTurned: this.#bits };
  }
}
